import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

import frames
from companion.errors import CompanionError
from companion.show import figures
from companion.show.outputs import read_outputs
from companion.show.provenance import Provenance
from companion.show.style import fix_layout, in_style, new_figure, save_figure

PROVENANCE = Provenance("explanations", "quick", ("run-b", "run-a"), "abc1234")


def small(note: str = "n = 1") -> Figure:
    with in_style():
        figure = new_figure(1, note)
        figure.add_subplot().set_title("costs $5 or $6 \u2212 ü")
        return fix_layout(figure)


def test_png_has_the_size_and_the_origin(tmp_path: Path) -> None:
    pdf, png = save_figure(small(), tmp_path, "F1", PROVENANCE, "A caption")
    assert (pdf.name, png.name) == ("F1.pdf", "F1.png")
    with Image.open(png) as image:
        assert image.width == 1380
        assert image.info["Description"] == PROVENANCE.footer()
        assert image.info["Runs"] == "run-a run-b"
        assert "Software" not in image.info
    assert read_outputs(tmp_path)[0].caption == "A caption"


def test_pdf_has_true_type_fonts_and_no_date(tmp_path: Path) -> None:
    content = save_figure(small(), tmp_path, "F1", PROVENANCE)[0].read_bytes()
    assert b"/FontFile2" in content or b"/FontFile2" in b"".join(streams(content))
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert b"matplotlib" not in content.lower()


def streams(pdf: bytes) -> list[bytes]:
    """The unpacked streams of ``pdf``."""
    return [zlib.decompress(part) for part in re.findall(rb"stream\n(x.*?)\nendstream", pdf, re.DOTALL)]


def test_saving_or_showing_before_changes_no_byte(tmp_path: Path) -> None:
    points, intervals = frames.arm_points(("label",), "measure", ("peak_mass", "label_entropy"), 2)
    figure = figures.plot_dots(points, intervals, names=frames.NAMES, note="n")
    first = [path.read_bytes() for path in save_figure(figure, tmp_path, "F5", PROVENANCE)]
    figure._repr_png_()
    assert [path.read_bytes() for path in save_figure(figure, tmp_path, "F5", PROVENANCE)] == first


def test_the_origin_of_the_last_save_is_the_one_shown(tmp_path: Path) -> None:
    figure = small()
    save_figure(figure, tmp_path, "F1", PROVENANCE)
    save_figure(figure, tmp_path, "F1", Provenance("s", "cpu", (), "c"))
    assert [text.get_text() for text in figure.texts if text.get_gid() == "origin"] == [
        "profile cpu · no runs · commit c"
    ]


def test_a_readers_own_settings_neither_matter_nor_change(tmp_path: Path) -> None:
    plain = save_figure(small(), tmp_path, "F1", PROVENANCE)[1].read_bytes()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        assert save_figure(small(), tmp_path, "F1", PROVENANCE)[1].read_bytes() == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_figure_without_a_note_is_refused() -> None:
    with pytest.raises(CompanionError, match="needs a note"):
        small(" \n")


def test_a_long_note_is_broken_and_makes_the_figure_taller() -> None:
    assert small("word " * 100).get_figheight() > small().get_figheight() + 0.3


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    frames.write_both(tmp_path / "here")
    code = "import sys, pathlib, frames; frames.write_both(pathlib.Path(sys.argv[1]))"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], env=environment, check=True)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / place).iterdir()} for place in ("here", "there"))
    assert len(one) == 7
    assert one == two
