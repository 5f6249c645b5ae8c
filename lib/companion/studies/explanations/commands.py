"""What the commands of this study do: choose a recipe, rate with language models, compare on own data."""

from pathlib import Path
from typing import Any

from companion import paths
from companion.runs.lock import folder_lock
from companion.studies.commands import show_progress, write_outputs
from companion.studies.explanations.data import dataset, gold
from companion.studies.explanations.data.annotate import MERGES
from companion.studies.explanations.data.language_annotators import Survey
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.registry import open_study
from companion.studies.study import run, why_missing


def compare(quiet: bool = False, **options: Any) -> str:
    """Compare the arms on a reader's own table: records, the executed notebook ``your_data`` and the index page.

    ``options`` are the arguments of ``own_study.open_own``. Returns one sentence for the user. Raises CompanionError as
    ``own_study.open_own``, ``own_study.run_comparison`` and ``write_outputs``.
    """
    from companion.studies.explanations.own import study as own_study

    notebook = paths.own_notebook()
    if Path(options["table"]).is_file():
        # The notebook works in a folder of its own.
        options["table"] = str(Path(options["table"]).resolve())
    own = own_study.open_own(**options)
    if own.frozen() is None:
        own.build_data(quiet)  # before the lock, which makes the folder: what is wrong with the table leaves nothing
    with folder_lock(own.folder):
        own_study.run_comparison(own, quiet)
        return write_outputs(
            own, [notebook], options, f"Labels with and without explanations: {own.folder.name}", quiet
        )


def tune(profile: str, quiet: bool = False) -> str:
    """Run the tuning grid on validation items; write its table and return what a reader sees of it."""
    from companion.studies.explanations.results.publish import publish_tuning

    study = open_study(ExplanationsStudy.name, profile)
    with folder_lock(study.folder):
        run(study, study.tuning_specs(), quiet).raise_if_failed()
        table = publish_tuning(study)
    return table if isinstance(table, str) else table.to_string(index=False)


def annotate(profile: str, quiet: bool = False) -> str:
    """Ask the language models all that is still unanswered and make the data set; returns where it stands.

    Raises CompanionError where the annotators are simulated, the highest cost is above the cap, or a model can't be
    asked.
    """
    study = open_study(ExplanationsStudy.name, profile)
    survey = dataset.make_survey(study.settings)
    show_progress(quiet, _format_accounts(survey))
    with folder_lock(study.folder):
        data = study.build_data(quiet)
        data.save(study.folder / "data")
    made = f"Data set {data.hash}: {len(data.items)} ratings kept, {data.facts['dropped_for_too_few_scores']} dropped."
    asked = _format_accounts(survey)
    return f"{asked}\n{made}\nThe answers are in {survey.folder}; they quote texts, so mind the licences."


def _format_accounts(survey: Survey) -> str:
    lines = [
        f"{one.model}: {one.answered} of {one.questions} questions answered, {one.readable} readable, {one.refused} "
        f"refused; {one.prompt_tokens} + {one.answer_tokens} tokens, {one.dollars:.2f} US dollars."
        for one in survey.accounts()
    ]
    return "\n".join(lines)


def gold_export(profile: str, number: int) -> str:
    """Write the forms for two raters; returns where they are and what to do."""
    study = open_study(ExplanationsStudy.name, profile)
    one = study.settings
    there = dataset.list_conversations(one, "train")
    chosen = gold.sample(list(there), number, one.data_seed)
    folder = gold.get_gold_folder(profile)
    gold.write_forms({item: there[item] for item in chosen}, one.axes, folder, one.data_seed)
    return (
        f"{folder} holds form_first.ipynb and form_second.ipynb with {number} items each. Let two people fill one each "
        f"and run it in that folder; 'companion gold report -p {profile}' then reads what they gave."
    )


def gold_report(profile: str) -> str:
    """Agreement of the raters and the error of each merge rule against them; a sentence where nobody has rated."""
    study = open_study(ExplanationsStudy.name, profile)
    one = study.settings
    if (people := gold.load_gold_ratings(profile, one.axes)) is None:
        return gold.explain_missing_gold(profile)
    if reason := why_missing(study):
        return reason
    rules = gold.compute_rule_errors(study.data.ratings, people, one.data_seed)
    best = next(rule for rule in rules["rule"] if rule in MERGES)
    used = one.annotators.merge_rule if one.annotators else "mean"
    agreement = gold.measure_agreement(people, one.data_seed)
    advice = f"The labels use the {used}; the rule nearest to people is {best}"
    advice += "." if used == best else f" (merge_rule: {best} in the profile's annotators takes it)."
    advice += " Small differences between rules are chance: no interval stands behind this order."
    return f"{agreement.to_string(index=False)}\n\n{rules.to_string(index=False)}\n\n{advice}"
