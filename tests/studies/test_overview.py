"""What the page over all studies says, from files alone."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from companion.errors import CompanionError
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.overview import Result, StudyOverview, write_overview


def result(folder: Path, profile: str, **verdicts: str) -> Result:
    place = folder / profile / "explanations"
    place.mkdir(parents=True)
    if verdicts:
        rows = {"id": list(verdicts), "statement": [f"<b>{profile}</b>"] * len(verdicts), "verdict": verdicts.values()}
        pd.DataFrame(rows).to_csv(place / "claims.csv", index=False)
    return Result(profile, place, "F3_arms")


def test_a_run_that_decides_nothing_points_to_one_that_does(tmp_path: Path) -> None:
    quick = result(tmp_path, "quick", a1="undecided", a10="undecided", a2="undecided")
    cpu = result(tmp_path, "cpu", a1="contradicted", a2="supported")
    one = StudyOverview(ExplanationsStudy, (quick, cpu))
    assert one.clearest is cpu
    assert one.hint == (
        "Profile quick: 0 supported, 0 contradicted, 3 undecided. This run is too small to decide anything; the "
        "recorded run cpu decides more."
    )
    table = one.table()
    assert list(table["claim"]) == ["a1", "a2", "a10"]
    assert list(table["cpu"]) == ["\u2718 contradicted", "\u2714 supported", "not run"]
    assert set(table["statement"]) == {"<b>quick</b>"}


def test_without_results_the_page_names_the_command(tmp_path: Path) -> None:
    one = StudyOverview(ExplanationsStudy, (result(tmp_path, "quick"), result(tmp_path, "cpu", a="supported")))
    assert one.hint == "There is no result of profile quick yet; 'make figures PROFILE=quick' makes it."
    assert StudyOverview(ExplanationsStudy, (result(tmp_path, "gpu"),)).table().empty


def test_the_page_escapes_what_it_shows_and_links_relatively(tmp_path: Path) -> None:
    class Hostile(ExplanationsStudy):
        title, statement, main_figure = "T<i>", "says <b>", "a b"

    quick, recorded = result(tmp_path, "quick", a="undecided"), result(tmp_path, "c & d", a="supported")
    (recorded.folder / "claims.png").touch()
    shutil.copytree(quick.folder, tmp_path / "quick" / "mine")
    page = write_overview(tmp_path / "quick", "quick", [StudyOverview(Hostile, (quick, recorded))])
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    assert not soup.find_all(["script", "i", "b"])
    assert soup.img["src"] == "../c%20%26%20d/explanations/claims.png"
    assert soup.img["alt"] == "Claims, profile c & d"
    links = [one["href"] for one in soup.find_all("a")]
    assert "../c%20%26%20d/explanations/claims.html" in links and "mine/claims.html" in links


@pytest.mark.parametrize("made", [True, False])
def test_a_picture_is_shown_where_it_is(tmp_path: Path, made: bool) -> None:
    one = result(tmp_path, "quick", a="supported")
    if made:
        (one.folder / "F3_arms.png").touch()
    assert one.picture("F3_arms") == (one.folder / "F3_arms.png" if made else None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"id,statement\na,b\n",
        b'id,statement,verdict\n"a',
        b"\xff\xfe",
        b"id,statement,verdict\na,b,maybe\n",
        b"id,statement,verdict\na,b,undecided\na,b,undecided\n",
    ],
)
def test_a_damaged_ledger_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    one = result(tmp_path, "quick")
    (one.folder / "claims.csv").write_bytes(content)
    with pytest.raises(CompanionError, match="claims.csv is damaged; delete it and make the figures again"):
        one.claims  # noqa: B018


def test_a_rerun_without_results_names_its_command(tmp_path: Path) -> None:
    one = StudyOverview(ExplanationsStudy, (result(tmp_path, "quick-rerun"),))
    assert one.hint.endswith("'make figures PROFILE=quick RERUN=1' makes it.")
