"""Upload a folder to the Hugging Face hub; a token is taken from where the hub's own login left it and never shown."""

import re
from pathlib import Path

from companion.errors import CompanionError


def check(name: str) -> None:
    """See, before any work is done, that `name` is owner/name and that somebody is logged in.

    Raises:
        CompanionError: it is not so, or the hub cannot be reached.
    """
    from httpx import HTTPError
    from huggingface_hub import whoami
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        raise CompanionError(f"{name!r} is no name of a hub repository: give owner/name.")
    try:
        whoami()
    except LocalTokenNotFoundError as error:
        raise CompanionError("Nobody is logged in to the hub: run 'hf auth login', or leave --push out.") from error
    except OfflineModeIsEnabled as error:
        raise CompanionError("HF_HUB_OFFLINE is set: unset it, or leave --push out.") from error
    except (HTTPError, OSError) as error:
        raise _failed("The hub did not take the login", error) from error


def push(folder: Path, name: str, private: bool) -> str:
    """Make the repository if it is not there, upload the folder, and say where it is.

    Raises:
        CompanionError: the hub refuses or cannot be reached; what is in `folder` stays.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Add a student")
    except (HTTPError, OSError, ValueError) as error:
        raise _failed(f"{folder} is written, but could not be uploaded to {name}", error) from error
    return f"Uploaded to {address}{' (private)' if private else ''}."


def _failed(what: str, error: Exception) -> CompanionError:
    """One sentence with the kind of error only: a message of the hub may hold an address or a header."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return CompanionError(
        f"{what} ({f'status {status}' if status else type(error).__name__}): check network and access."
    )
