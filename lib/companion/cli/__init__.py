"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

``shared`` has the commands of all studies; every other file here those of one study, and is found by being here.
"""

import os
import sys
import warnings
from importlib import import_module
from pkgutil import iter_modules

from companion.cli.app import app
from companion.errors import CompanionError

INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""

for _room in ("shared", *sorted({module.name for module in iter_modules(__path__)} - {"__main__", "app", "shared"})):
    # Importing a module adds its commands.
    import_module(f"companion.cli.{_room}")


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, an interrupt is exit code 130."""
    warnings.formatwarning = lambda message, *_: f"Warning: {message}\n"
    try:
        app()
    except CompanionError as error:
        if os.environ.get("COMPANION_DEBUG"):
            raise
        print(f"companion: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("companion: interrupted; run the same command again to go on.", file=sys.stderr)
        raise
