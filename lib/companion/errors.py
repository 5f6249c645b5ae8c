"""The one exception that stands for a user's mistake."""


class CompanionError(Exception):
    """A mistake the user can mend; its text is one sentence saying what was wrong, where, and what to do.

    The command line prints the sentence and exits with code 2; a traceback is shown only with ``--debug``.
    """
