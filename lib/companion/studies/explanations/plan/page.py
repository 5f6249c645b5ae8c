"""The plan of a profile as text for the terminal, every number with where it comes from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pandas as pd

from companion.studies.explanations.plan import planner
from companion.studies.explanations.plan.measure import Speed, measure
from companion.studies.explanations.plan.planner import Card, Lengths, Load
from companion.studies.explanations.settings import Annotators, ExplanationsSettings, OriginalName
from companion.studies.explanations.training.experiment import RunSpec
from companion.studies.study import Study

LARGEST_SHARE = 0.95
"""Of a card's memory that a run may take."""


def page(study: Study, measured: bool = False) -> str:
    """Runs, tokens, hours, memory and money of one profile's study; with ``measured`` a few steps are trained first.

    Raises:
        CompanionError: a mistake in the table of cards, or an unavailable model.
    """
    lengths, (specs, tuning) = planner.measure_lengths(study), planner.list_specs(study)
    load = planner.compute_workload(specs, study.settings, lengths)
    speed = measure(replace(study.profile, workers=study.slots()), study.settings.recipe, lengths) if measured else None
    parts = [_counts(study, load, planner.compute_workload(tuning, study.settings, lengths), lengths)]
    parts += [_this_machine(study, specs, load, speed)]
    if study.profile.dtype == "nf4":
        parts += [_on_cards(study, load)]
    else:
        parts += ["Hours and money for each card are estimated for models in 4 bits only (dtype: nf4)."]
    annotators = study.settings.annotators
    if annotators or set(study.settings.sources) & set(get_args(OriginalName)):
        parts += [_ratings(study.settings, lengths, annotators)]
    return "\n\n".join(parts)


def _counts(study: Study, load: Load, tuning: Load, lengths: Lengths) -> str:
    loads = {"study": load, "tuning (companion tune)": tuning}
    rows = [[name, one.runs, *map(_millions, (one.trained, one.scored, one.written))] for name, one in loads.items()]
    table = _table(pd.DataFrame(rows, columns=["", "runs", "tokens trained on", "scored", "written"]))
    one = study.settings
    return (
        f"{study.profile.name}: {one.students} students of {study.profile.model}, {len(one.arms)} arms, "
        f"{len(one.seeds)} seeds, {len(one.sources)} sources\n{table}\n"
        f"Lengths: {lengths.source}. Trained on: all epochs."
    )


def _this_machine(study: Study, specs: Sequence[RunSpec], load: Load, speed: Speed | None) -> str:
    lines = []
    if logged := planner.read_logged_hours(study, specs):
        count, hours = logged
        lines.append(f"By the logs of {count} runs made here: {_hours(hours)} for all {len(specs)}.")
    if speed:
        lines.append(
            f"Measured now: {_hours(speed.hours(load))} at {speed.trained:.0f} tokens/s trained, {speed.scored:.0f} "
            f"scored, {speed.written:.0f} written by {study.slots()} workers, each with {speed.peak:.1f} GiB."
        )
    return "This machine: " + (" ".join(lines) or "no run is logged; --measure trains a few steps and says.")


def _on_cards(study: Study, load: Load) -> str:
    shape, recipe = planner.load_shape(study.profile.model, study.profile.revision), study.settings.recipe
    need = planner.estimate_memory(shape, study.profile.dtype, recipe.lora_rank, recipe.max_length)
    cards, total = planner.load_cards(), sum(need.values())
    rows = [
        _row(name, card, planner.estimate_speed(card, cards, shape.billions), load, total)
        for name, card in cards.items()
    ]
    sources = [f"  {name}: {card.speed_source}; {card.price_source}" for name, card in cards.items()]
    parts = ", ".join(f"{part} {size:.1f}" for part, size in need.items())
    return (
        f"On one card (estimated)\n{_table(pd.DataFrame(rows))}\n"
        f"Memory: {total:.1f} GiB ({parts}) with {planner.EXAMPLES_AT_ONCE} examples of {recipe.max_length} tokens at "
        "once; shorter ones need less.\n"
        f"Hours and US$: the study alone, without tuning, loading and downloads; scoring {planner.SCORING_SPEEDUP:g} "
        f"times as fast as training, writing {planner.WRITING_SLOWDOWN:g} times as slow. Scaled: from the "
        "A100 40 GB, by the lower of the ratios of tensor speed and bandwidth.\nSources (cards.yaml):\n"
        + "\n".join(sources)
    )


def _row(name: str, card: Card, rate: float, load: Load, need: float) -> dict[str, object]:
    hours = load.hours(rate)
    dollars = hours * card.price
    fits = need * planner.GIB < LARGEST_SHARE * card.memory * 1e9
    return {
        "card": name,
        "memory": f"{card.memory:g} GB{'' if fits else ', too small'}",
        "tokens/s": f"{rate:.0f}",
        "": card.known_by,
        "hours": f"{hours:.1f}",
        "US$ an hour": f"{card.price:.2f}",
        "US$": f"{dollars:.{0 if dollars >= 10 else 2}f}",
    }


def _ratings(settings: ExplanationsSettings, lengths: Lengths, annotators: Annotators | None) -> str:
    asked = planner.count_ratings(settings, lengths)
    text = (
        f"Ratings by language models: {asked['conversations']:,.0f} conversations x {len(settings.axes)} axes x "
        f"{planner.CALLS_PER_RATING} and one to condense = {asked['calls']:,.0f} calls, {_millions(asked['read'])} "
        f"tokens read and {_millions(asked['written'])} written, at {planner.ANSWER_TOKENS['rating']:.0f} an answer "
        "(assumed); "
    )
    if annotators is None:
        return text + "no annotators are named in the profile, so the simulated ones rate and these calls are not made."
    dollars = planner.estimate_dollars(asked, annotators)
    return text + f"about US$ {dollars:,.2f} at the profile's prices, which allow {annotators.cap:,.2f} in all."


def _table(frame: pd.DataFrame) -> str:
    alignment = ["left"] + ["right"] * (frame.shape[1] - 1)
    return frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True, colalign=alignment)


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"


def _hours(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
