"""The page and the tables over all studies of a profile."""


def build(profile: str, rerun: bool, quiet: bool) -> str:
    """Write the page over all studies; returns one sentence."""
    return profile
