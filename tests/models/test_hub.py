"""Uploads: every refusal is one sentence, and no sentence holds a token."""

from pathlib import Path

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from companion.errors import CompanionError
from companion.models import hub

TOKEN = "not-a-real-token"


def refusal(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", f"http://localhost/?token={TOKEN}")
    return HfHubHTTPError(f"refused {TOKEN}", response=httpx.Response(status, request=request))


@pytest.mark.parametrize("name", ["adapter", "a/b/c", "../x", "a b/c", ""])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(CompanionError, match="is no name of a hub repository: give owner/name"):
        hub.check(name)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (LocalTokenNotFoundError("no token"), "Nobody is logged in to the hub"),
        (refusal(401), r"did not take the login \(status 401\)"),
        (httpx.ConnectError(f"no route {TOKEN}"), r"\(ConnectError\)"),
    ],
)
def test_a_login_that_fails(error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "whoami", refuse)
    with pytest.raises(CompanionError, match=sentence) as found:
        hub.check("me/student")
    assert TOKEN not in str(found.value)


def test_offline_is_told_by_the_real_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CompanionError, match="HF_HUB_OFFLINE is set|did not take the login") as found:
        hub.check("me/student")
    assert TOKEN not in str(found.value)


def test_an_upload_is_private_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Api:
        def create_repo(self, name: str, **options: object) -> str:
            calls.append((name, options["private"]))
            return f"hub/{name}"

        def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
            if folder_path != tmp_path:
                raise refusal(403)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert hub.push(tmp_path, "me/student", private=True) == "Uploaded to hub/me/student (private)."
    assert calls == [("me/student", True)]
    with pytest.raises(CompanionError, match=r"could not be uploaded to me/student \(status 403\)") as found:
        hub.push(tmp_path / "other", "me/student", private=True)
    assert TOKEN not in str(found.value)
