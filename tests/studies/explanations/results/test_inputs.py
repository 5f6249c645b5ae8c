from dataclasses import replace

from companion.studies.explanations.results.inputs import EFFECT_SDS, compute_design
from companion.studies.explanations.settings import ExplanationsSettings


def test_more_seeds_and_sources_find_smaller_effects(tiny_settings: ExplanationsSettings) -> None:
    more = replace(tiny_settings, sources=("faq", "qa", "chat_low"), seeds=tuple(range(4)))
    table, alone = compute_design(more, 4), compute_design(more, 1)
    over, cells = table["comparison"] == "two arms, 2 axes", table["comparison"] == "each of 6 cells"
    assert over.sum() == cells.sum() == len(EFFECT_SDS)
    assert table.loc[over, "minimal_effect"].is_monotonic_increasing
    assert (table.loc[over, "minimal_effect"] > alone.loc[over, "minimal_effect"]).all()
    assert table.loc[over, "smallest_margin"].is_monotonic_increasing
    assert table.loc[over, "power_at_margin"].is_monotonic_decreasing
    assert (table.loc[over, "smallest_p"] == 1).all()
    assert (alone.loc[over, "smallest_p"] == 0.25).all()
    fewer = compute_design(tiny_settings, 4)
    assert (table.loc[over, "minimal_effect"] < fewer.loc[over, "minimal_effect"]).all()
