from collections.abc import Callable
from functools import cache

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Text

import frames
from companion.errors import CompanionError
from companion.show import figures
from companion.show.panels import LEAST_IN_BIN

NOTE = "n = 6 sources, 6 seeds; intervals 95 %."
GIVEN = {"names": frames.NAMES, "note": NOTE}
FOREST = {"treatment": "explanation", "baseline": "label", "measure": "accuracy", **GIVEN}
LAYERS = {"x": "layer", "shaded": (11, 20, "middle third"), **GIVEN}
LEARNING = {"x": "examples_seen", "from_zero": True, **GIVEN}
ALIKE = ("confidence_right", "confidence_wrong")
STAGES = (
    figures.Stage(
        "text", "read", (("sources", "source", "sources"), ("train_items", "training item", "training items"))
    ),
    figures.Stage("targets", "label, then text by arm", (("arms", "arm", "arms"),)),
    figures.Stage("students", "base + LoRA adapter", (("students", "student", "students"),)),
    figures.Stage("probabilities", "of five levels per item", ()),
    figures.Stage("claims", "tables and figures", (("claims", "tested claim", "tested claims"),)),
)
COUNTS = {"sources": 6, "train_items": 1440, "arms": 1, "students": 27, "claims": 9}


def arms_figure(arms: tuple[str, ...] = frames.PRIMARY, seeds: int = 6) -> Figure:
    points, intervals = frames.arm_points(arms, "axis", (*frames.AXES, "pooled"), seeds)
    return figures.plot_dots(points, intervals, frames.references(), panel="axis", measure="accuracy", **GIVEN)


def sharpness_figure(arms: tuple[str, ...] = frames.PRIMARY) -> Figure:
    points, intervals = frames.arm_points(arms, "measure", frames.SHARPNESS, 6)
    return figures.plot_dots(points, intervals, alike=ALIKE, **GIVEN)


def forest_figure(cells: pd.DataFrame) -> Figure:
    return figures.plot_forest(cells, frames.summaries(), **FOREST)


DRAWN: dict[str, Callable[[], Figure]] = {
    "pipeline": lambda: figures.plot_pipeline(STAGES, COUNTS, frames.PRIMARY, **GIVEN),
    "forest": lambda: forest_figure(frames.cells()),
    "forest, two sources, long names": lambda: forest_figure(frames.cells(("faq", "größe_of_$x$_" + "long" * 6))),
    "arms": arms_figure,
    "arms, all": lambda: arms_figure(frames.ALL_ARMS, 1),
    "layers": lambda: figures.plot_curves(frames.layer_values(), **LAYERS),
    "layer differences": lambda: figures.plot_curves(frames.layer_differences(), **LAYERS),
    "sharpness": sharpness_figure,
    "sharpness, all": lambda: sharpness_figure(frames.ALL_ARMS),
    "calibration": lambda: figures.plot_calibration(*frames.calibration_curve(), **GIVEN),
    "calibration, two": lambda: figures.plot_calibration(*frames.calibration_curve(frames.PRIMARY[:2]), **GIVEN),
    "learning": lambda: figures.plot_curves(frames.learning_curves(), **LEARNING),
    "learning, all": lambda: figures.plot_curves(frames.learning_curves(frames.ALL_ARMS), **LEARNING),
}


@cache
def drawn(name: str) -> Figure:
    return DRAWN[name]()


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def visible(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("name", DRAWN)
def test_no_word_leaves_the_figure_is_tiny_or_lies_on_another(name: str) -> None:
    figure = drawn(name)
    renderer = figure._get_renderer()
    page = figure.bbox
    boxes = [(text, text.get_window_extent(renderer)) for text in drawn_texts(figure)]
    for text, box in boxes:
        inside = page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1 and page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1
        assert inside, f"{text.get_text()!r} leaves the page"
        assert text.get_fontsize() >= 7
    for place, (text, box) in enumerate(boxes):
        for other, other_box in boxes[place + 1 :]:
            width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
            height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
            assert width < 1 or height < 2, f"{text.get_text()!r} lies on {other.get_text()!r}"


def drawn_texts(figure: Figure) -> list[Text]:
    """Every text that is drawn; matplotlib also keeps labels of ticks beyond the limits, which are not."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in visible(figure):
        texts += [*axes.texts, axes.title, axes._left_title]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [axis.label, *(tick.label1 for tick in ticks)]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_states_its_note(name: str) -> None:
    assert any(NOTE in text.replace("\n", " ") for text in words(drawn(name)))


def test_forest_has_a_row_per_cell_grouped_by_axis() -> None:
    figure = forest_figure(frames.cells())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 18 + 3 + 1 + 4
    assert labels[:2] == ["naturalness", "assistant (for Chatbot Arena)"]
    assert labels[14] == "on-topic adherence"
    assert words(figure).count("120 × 6") == 18


def test_forest_draws_each_interval_and_diamond_at_its_numbers() -> None:
    cells = frames.cells()
    [axes] = forest_figure(cells).axes
    segments = sorted(collection.get_segments()[0][:, 0].tolist() for collection in axes.collections)
    np.testing.assert_allclose(segments, np.sort(cells[["low", "high"]].to_numpy(), axis=0), atol=1e-12)
    diamonds = [patch.get_xy()[0, 0] for patch in axes.patches if type(patch) is Polygon]
    assert sorted(diamonds) == sorted(frames.summaries()["low"])


def test_forest_without_intervals_or_summaries_keeps_its_estimates() -> None:
    cells = frames.cells(("faq", "qa")).assign(low=np.nan, high=np.nan)
    figure = figures.plot_forest(cells, frames.summaries().iloc[:0], **FOREST)
    assert sum("[n/a]" in text for text in words(figure)) == 6
    assert "summary" not in words(figure)


def test_forest_always_shows_zero() -> None:
    [axes] = forest_figure(frames.cells().assign(estimate=0.5, low=0.4, high=0.6)).axes
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]


def test_arms_shows_every_seed_every_interval_and_every_baseline() -> None:
    points, intervals = frames.arm_points(frames.PRIMARY, "axis", ("on_topic", "pooled"), 4)
    figure = figures.plot_dots(points, intervals, frames.references(), panel="axis", measure="accuracy", **GIVEN)
    for axes, axis in zip(visible(figure), ("on_topic", "pooled"), strict=True):
        dots = np.concatenate(
            [line.get_xdata() for line in axes.lines if line.get_marker() == "o" and line.get_alpha()]
        )
        assert sorted(dots) == sorted(points.loc[points["axis"] == axis, "value"])
        assert len(axes.collections) == len(frames.PRIMARY)
        dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert sorted(dashed) == [0.21, 0.24, 0.31]
    assert any("n = 4" in text for text in words(figure))


def test_arms_and_forest_do_without_baselines_and_summaries() -> None:
    points, intervals = frames.arm_points(("label", "new_arm"), "axis", ("pooled",), 1)
    figure = figures.plot_dots(points, intervals.assign(low=np.nan, high=np.nan), panel="axis", measure="mae", **GIVEN)
    assert figure.legends == []
    assert "new arm" in words(figure)
    assert "summary" not in words(figures.plot_forest(frames.cells(("faq",)), pd.DataFrame(), **FOREST))


def test_an_arm_keeps_its_colour_whichever_arms_are_beside_it() -> None:
    for arms in (("label", "explanation"), frames.ALL_ARMS):
        points, intervals = frames.arm_points(arms, "axis", ("pooled",), 2)
        figure = figures.plot_dots(points, intervals, frames.references(), panel="axis", measure="accuracy", **GIVEN)
        markers = {line.get_marker(): line.get_color() for line in figure.axes[0].lines if not line.get_alpha()}
        assert markers[frames.NAMES.style("explanation").marker] == frames.NAMES.style("explanation").colour


def test_layers_has_a_panel_per_measure_and_shades_the_layers_it_is_told() -> None:
    for name, arms in {"layers": frames.PRIMARY, "layer differences": frames.PRIMARY[2:]}.items():
        figure = drawn(name)
        assert len(figure.axes) == 3
        for axes in figure.axes:
            assert axes.patches[0].get_x() == 10.5
            assert axes.patches[0].get_width() == 10
            assert [line.get_color() for line in axes.lines] == [frames.NAMES.style(arm).colour for arm in arms]


def test_bands_are_the_range_of_the_seeds_and_the_interval() -> None:
    values, curves = frames.layer_values(("label",)), frames.layer_differences(("shuffled",))
    seeds = figures.plot_curves(values, **LAYERS).axes[0]
    first = values[(values["measure"] == "E1") & (values["layer"] == 1)]["value"]
    assert seeds.lines[0].get_ydata()[0] == pytest.approx(first.mean())
    assert band(seeds, 1) == pytest.approx((first.min(), first.max()))
    one = curves[(curves["measure"] == "E1") & (curves["layer"] == 1)].iloc[0]
    interval = figures.plot_curves(curves, **LAYERS).axes[0]
    assert band(interval, 1) == pytest.approx((one["low"], one["high"]))


def band(axes: Axes, x: float) -> tuple[float, float]:
    """Lowest and highest point of the filled areas at ``x``."""
    corners = np.concatenate([path.vertices for area in axes.collections for path in area.get_paths()])
    at = corners[corners[:, 0] == x, 1]
    return float(at.min()), float(at.max())


def test_sharpness_panels_come_in_their_order() -> None:
    points, intervals = frames.arm_points(("label",), "measure", frames.SHARPNESS[::-1], 2)
    titles = [axes.get_title("left") for axes in visible(figures.plot_dots(points, intervals, alike=ALIKE, **GIVEN))]
    assert [title.split(" (")[0] for title in titles] == [
        frames.NAMES.name("measure", name).split(" (")[0] for name in frames.SHARPNESS
    ]


def test_calibration_leaves_out_nearly_empty_bins_and_states_n() -> None:
    curve, ece = frames.calibration_curve(("label",))
    curve.loc[curve["count"].idxmax(), "count"] = LEAST_IN_BIN - 1
    upper, lower = visible(figures.plot_calibration(curve, ece, **GIVEN))
    filled = int((curve["count"] > 0).sum())
    drawn_bins = int((curve["count"] >= LEAST_IN_BIN).sum())
    assert drawn_bins < filled < len(curve)
    assert len(upper.lines[1].get_xdata()) == drawn_bins and len(lower.patches) == filled
    assert f"n = {curve['count'].sum():,}" in upper.texts[0].get_text()


def test_learning_draws_an_arm_without_other_tokens_once() -> None:
    figure = figures.plot_curves(frames.learning_curves(), **LEARNING)
    assert [len(axes.lines) for axes in figure.axes] == [4, 3]


def test_pipeline_keeps_its_words_inside_their_boxes() -> None:
    figure = drawn("pipeline")
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches]
    inside = [text for text in axes.texts if text.get_text()]
    assert len(inside) > 12
    for text in inside:
        extent = text.get_window_extent()
        assert any(box.x0 < extent.x0 and extent.x1 < box.x1 for box in boxes), text.get_text()


def test_sharpness_shows_both_confidences_on_one_scale() -> None:
    points, intervals = frames.arm_points(("label",), "measure", frames.SHARPNESS, 2)
    right, wrong = visible(figures.plot_dots(points, intervals, alike=ALIKE, **GIVEN))[3:]
    assert right.get_xlim() == wrong.get_xlim()


def test_pipeline_shows_the_counts_it_is_given_and_refuses_others() -> None:
    shown = words(drawn("pipeline"))
    assert {"6 sources", "1,440 training items", "1 arm", "27 students", "9 tested claims"} <= set(shown)
    with pytest.raises(CompanionError, match="no place for the counts cats"):
        figures.plot_pipeline(STAGES, {"cats": 1}, (), **GIVEN)


def test_a_missing_column_or_an_empty_frame_is_one_sentence() -> None:
    with pytest.raises(CompanionError, match="columns examples_seen"):
        figures.plot_curves(frames.learning_curves().drop(columns="examples_seen"), **LEARNING)
    with pytest.raises(CompanionError, match="without rows"):
        figures.plot_curves(frames.learning_curves().iloc[:0], **LEARNING)


def test_drawing_changes_no_frame_and_no_setting() -> None:
    curves = frames.learning_curves()
    before, settings = curves.copy(), dict(mpl.rcParams)
    figures.plot_curves(curves, **LEARNING)
    pd.testing.assert_frame_equal(curves, before)
    assert dict(mpl.rcParams) == settings
