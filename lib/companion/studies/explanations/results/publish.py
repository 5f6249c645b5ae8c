"""The tables and claims of this study that a notebook writes in one call."""

import numpy as np
import pandas as pd

from companion.show.claims import claims_view
from companion.show.ledger import write_claims
from companion.studies.explanations.data import gold
from companion.studies.explanations.results.claims import decide_claims, describe_learning, explain_undecided
from companion.studies.explanations.results.inputs import compare_merge_rules, has_known_levels
from companion.studies.explanations.results.results import Results
from companion.studies.explanations.results.training import compare_recipes, read_tuning
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.publish import publish_table, records_origin

RECORDED = "cpu"
"""Profile whose recorded run has the seeds that verdicts need."""


def publish_tuning(study: ExplanationsStudy) -> pd.DataFrame | str:
    """Write T0_tuning, the recipes compared on validation items; where that was not run, one sentence instead."""
    records = read_tuning(study)
    if not records:
        return f"No recipes were compared here: 'companion tune -p {study.profile.name}' does it."
    seeds, labels = len(study.settings.tuning.seeds), records[0].arrays["probabilities"].shape[1]
    one_cell = f"{study.settings.validation_items} items a cell"
    items = one_cell if study.unit == "source" else f"{(study.data.items['split'] == 'validation').sum()} items"
    note = (
        f"Means over the axes; n = {seeds} seed{'s' * (seeds > 1)}, {items}; a uniform guess has "
        f"{np.log(labels):.3f} nats. One recipe for all arms, by a rule fixed before: the lowest "
        "negative log-likelihood, mean of the arms shown. Each arm alone might prefer another recipe."
    )
    origin = records_origin(study, records)
    return publish_table(
        study, compare_recipes(study, records), "T0_tuning", "Recipes on validation items", note, origin
    )


MERGE_CAPTION = "Merge rules for twelve scores: error against the {truth}"
SIMULATED = (
    "Simulated annotators with opposing biases and additive noise: that favours averages over votes and single prompts."
)
MODELS = "Language models rated replies made worse by known amounts."
LEVELS_NOTE = (
    "Validation and test items; intervals: bootstrap over sources and items (95 %); difference: error minus that of "
    "the mean, same items; the best single prompt is chosen on training items."
)
GOLD_NOTE = (
    "Gold: the mean of two raters. The best single prompt is chosen on one half of the items, judged on the other."
)


def publish_merge(study: ExplanationsStudy) -> pd.DataFrame | str:
    """Write T2_merge, the merge rules against the known levels or the gold set; a sentence where there is neither."""
    if has_known_levels(study.data.items):
        note = f"{MODELS if study.settings.annotators else SIMULATED} {LEVELS_NOTE}"
        return publish_table(
            study, compare_merge_rules(study), "T2_merge", MERGE_CAPTION.format(truth="known level"), note
        )
    if (people := gold.load_gold_ratings(study.profile.name, study.settings.axes)) is None:
        return gold.explain_missing_gold(study.profile.name)
    table = gold.compute_rule_errors(study.data.ratings, people, study.settings.data_seed)
    return publish_table(study, table, "T2_merge", MERGE_CAPTION.format(truth="gold set"), GOLD_NOTE)


def publish_claims(study: ExplanationsStudy, results: Results) -> pd.DataFrame:
    """Write the claims ledger as picture, table and page, and return what a reader sees of the table."""
    claims = decide_claims(results, study.settings)
    note = f"{study.size}; {study.training}. {describe_learning(results)}"
    headline = explain_undecided(results)
    if headline and study.unit == "source" and study.profile.name != RECORDED:
        headline += f" The recorded run of profile {RECORDED} decides more."
    write_claims(claims, study.folder, note, results.provenance, headline)
    return claims_view(claims)
