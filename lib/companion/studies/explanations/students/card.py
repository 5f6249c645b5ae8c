"""The model card of exported students: what they are, what was measured, and what not to use them for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Template

from companion.runs.spec import spec_id
from companion.show.tables import markdown_table
from companion.show.text import format_interval, format_number
from companion.stats.metrics import metrics
from companion.studies.explanations.data.annotate import SIMULATED
from companion.studies.explanations.names import NAMES
from companion.studies.explanations.results.estimates import estimate_level
from companion.studies.explanations.results.learned import compute_gains_over_rival
from companion.studies.explanations.results.reliability import compute_calibration
from companion.studies.explanations.results.results import Results, load_results, probability_names
from companion.studies.explanations.settings import CONTEXT_WORDS
from companion.studies.explanations.students.usage import GGUF, MERGED, Made, get_explanation_place, make_template
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.explanations.training.experiment import RunSpec, load_base_of
from companion.studies.explanations.training.targets import ARMS, EXPLANATION_LEAD, LABEL_LEAD, LEVELS

EMBEDDED_ID, EMBEDDED_LICENCE = "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"
MEASURES = {"correct": "accuracy", "within_one": "within_one", "absolute_error": "mae", "nll": "nll"}

TEMPLATE = Path(__file__).with_name("card.md.jinja")
SNIPPET = Path(__file__).with_name("snippet.py.jinja")


def write_card(study: ExplanationsStudy, made: Sequence[Made], folder: Path) -> Path:
    """Write ``README.md``, a card in the Hugging Face format, for one student or several of one arm and seed.

    The metrics are those of the record, and of the records of all seeds of the arm that are there, axis by axis.
    """
    from huggingface_hub import ModelCard, ModelCardData

    spec, licence = made[0].spec, _describe_licence(made[0].spec)
    data = ModelCardData(
        base_model=EMBEDDED_ID if spec.model == "embedded" else spec.model if spec.revision else None,
        language="en",
        library_name="peft",
        license=licence,
        metrics=["accuracy", "mae"],
        pipeline_tag="text-generation",
        tags=["lora", "arxiv:2511.02044", f"companion-{spec.arm.replace('_', '-')}"],
    )
    facts = {
        "licence": licence or "as its owners state",
        **_describe_training(study, made),
        **_describe_results(study, made),
    }
    card = ModelCard.from_template(data, template_path=str(TEMPLATE), **facts, **_describe_use(made, folder))
    file = folder / "README.md"
    file.write_text(f"{card}\n", encoding="utf-8")
    return file


def _describe_licence(spec: RunSpec) -> str | None:
    """The hub's name of the base model's licence, as far as it can be learnt."""
    from httpx import HTTPError
    from huggingface_hub import model_info

    if spec.model == "embedded":
        return EMBEDDED_LICENCE
    try:
        card = model_info(spec.model, revision=spec.revision).card_data if spec.revision else None
    except (HTTPError, OSError, ValueError):
        return None
    return card.license if card and isinstance(card.license, str) else None


def _describe_training(study: ExplanationsStudy, made: Sequence[Made]) -> dict[str, Any]:
    """Who the students are and where they come from."""
    spec, base = made[0].spec, load_base_of(made[0].spec)
    axes = [axis for one in made for axis in one.spec.axes]
    sources = pd.DataFrame(study.data.facts["sources"])[["name", "package", "version", "licence"]]
    release = " (a 4-bit release, converted to 16 bits or more)" if spec.model == "embedded" else ""
    items = study.data.items
    return {
        "spec": spec,
        "title": f"A rater of {_join_names([NAMES.name('axis', axis) for axis in axes])}, arm {spec.arm}, "
        f"seed {spec.seed}",
        "summary": f"{'A LoRA adapter' if len(made) == 1 else 'LoRA adapters'} on {base.name} to rate a reply in an "
        f"English conversation from {LEVELS[0]} to {LEVELS[-1]}. No text of the training data is kept here.",
        "base": f"{base.name} at {base.revision}{release}, {spec.dtype}, sha256 `{base.sha256[:16]}`, "
        f"{base.model.num_parameters() / 1e6:,.0f} million parameters",
        "target": ARMS[spec.arm],
        "examples": f"{((items['split'] == 'train') & items['axis'].isin(spec.axes)).sum()} rated replies"
        + " an axis" * (len(made) > 1),
        "annotators": _describe_annotators(study),
        "recipe": _describe_recipe(spec.recipe or {}),
        "runs": f"run{'s' * (len(made) > 1)} {_join_names([f'`{spec_id(one.spec)}`' for one in made])}",
        "profile": study.profile.name,
        "agreement": [one.agreement for one in made],
        "parameters": base.model.num_parameters(),
        "context_words": CONTEXT_WORDS,
        "sources": markdown_table(sources),
    }


def _describe_recipe(recipe: dict[str, Any]) -> str:
    epochs = recipe["epochs"]
    return (
        f"LoRA of rank {recipe['lora_rank']} on all projections, learning rate {recipe['learning_rate']:g}, batches of "
        f"{recipe['batch_size']}, {epochs} epoch{'s' * (epochs > 1)}"
    )


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _describe_annotators(study: ExplanationsStudy) -> str:
    names = list(study.data.ratings["annotator"].unique())
    if set(names) <= {annotator.name for annotator in SIMULATED}:
        return "simulated, by programs that know how each reply was degraded; nobody has rated anything"
    return f"by the annotators {_join_names(names)}"


def _describe_results(study: ExplanationsStudy, made: Sequence[Made]) -> dict[str, Any]:
    """Tables and verdicts, axis by axis, from the records of the arm."""
    tables, verdicts, commits = {}, [], set()
    for one in made:
        spec = one.spec
        like = [each for each in study.specs() if (each.arm, each.axes) == (spec.arm, spec.axes)]
        results = load_results(study, [each for each in like if study.store.has(spec_id(each))])
        commits |= set(results.provenance.commit.split())
        for axis in spec.axes:
            rows = results.predictions[results.predictions["axis"] == axis]
            of_axis = replace(results, predictions=rows)
            tables[NAMES.name("axis", axis)] = markdown_table(
                _table(of_axis, axis, spec.seed, study.settings.resamples)
            )
            verdicts.append(_describe_verdict(of_axis, axis))
    note = (
        f"{study.size}. Interval: 95 %, over sources, seeds and items (calibration: over seeds), for other students of "
        f"the same training. The most frequent label: a rater that always gives the shares of the training labels; "
        f"{NAMES.name('measure', 'nll')} of a uniform guess: {format_number(float(np.log(len(LEVELS))))}."
    )
    return {"tables": tables, "verdicts": verdicts, "note": note, "commit": ", ".join(sorted(commits))}


def _table(results: Results, axis: str, seed: int, resamples: int) -> pd.DataFrame:
    """Measures of this student, of all seeds with intervals, and of the most frequent label; all cells text."""
    rows = results.predictions
    arm, own = str(rows["arm"].iloc[0]), rows[rows["seed"] == seed]
    mine = metrics(own["label"].to_numpy(), own[probability_names(len(LEVELS))].to_numpy())
    train = results.items[(results.items["split"] == "train") & (results.items["axis"] == axis)]
    shares = np.array([(train["label"] == label).mean() for label in range(1, len(LEVELS) + 1)])
    constant = metrics(own["label"].to_numpy(), np.tile(shares, (len(own), 1)))
    found = {name: estimate_level(results, arm, column, resamples) for column, name in MEASURES.items()}
    intervals = {name: format_interval(one.estimate, one.low, one.high) for name, one in found.items()}
    ece = compute_calibration(results)[1].iloc[0]
    intervals["ece"] = format_interval(ece["estimate"], ece["low"], ece["high"])
    seeds = rows["seed"].nunique()
    columns = {
        "measure": [NAMES.name("measure", name) for name in intervals],
        "this student": [format_number(mine[name]) for name in intervals],
        f"{seeds} seed{'s' * (seeds > 1)} [interval]": list(intervals.values()),
        "most frequent label": [format_number(constant[name]) for name in intervals],
    }
    return pd.DataFrame(columns)


def _describe_verdict(results: Results, axis: str) -> str:
    """Whether the arm was shown to beat the most frequent label on this axis, in a sentence."""
    row = compute_gains_over_rival(results).iloc[0]
    gain = format_interval(row[axis], row[f"{axis}_low"], row[f"{axis}_high"])
    shown = "Shown" if row[f"{axis}_low"] > 0 else "**Not shown**"
    return f"{shown} to beat the most frequent label on {NAMES.name('axis', axis)}: accuracy {gain} above it."


def _describe_use(made: Sequence[Made], folder: Path) -> dict[str, Any]:
    """How the students are loaded."""
    from companion.models.base import get_label_token_ids

    spec, base = made[0].spec, load_base_of(made[0].spec)
    place = "FOLDER" if len(made) == 1 else f"FOLDER/{spec.axes[0]}"
    first = get_explanation_place(spec.arm) == "before"
    dtype = "float32" if spec.dtype == "float32" else "bfloat16"
    name = f'"{spec.model}"' if spec.revision else f'"{base.name}"  # the folder of this model'
    opening = f"\nbase = {name}"
    if spec.model == "embedded":
        opening = (
            f'from companion.models.embedded import prepare_embedded_model\n\nbase = prepare_embedded_model("{dtype}")'
        )
    snippet = Template(SNIPPET.read_text(encoding="utf-8"), trim_blocks=True).render(
        opening=opening,
        folder=place,
        dtype=dtype,
        revision=spec.revision,
        prompt=make_template(spec.axes[0]) + (EXPLANATION_LEAD if first else LABEL_LEAD),
        explains_first=first,
        ids=get_label_token_ids(base.tokenizer, LABEL_LEAD, LEVELS),
        labels=_join_names(LEVELS),
    )
    forms = [name for name in (MERGED, GGUF) if (folder / name).exists()]
    several = " (one axis; the other folders are loaded alike)" if len(made) > 1 else ""
    return {"explains": get_explanation_place(spec.arm), "snippet": snippet, "several": several, "forms": forms}
