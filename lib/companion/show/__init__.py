"""The room of views: estimates (data frames) in; tables, figures, claims and pages out.

Nothing here computes a statistic; every number shown was a number in a frame. Everything written can be deleted and
made again from the records, byte for byte.
"""
