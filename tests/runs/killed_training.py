"""Runs of the study whose worker is killed at a chosen moment; worker processes import this file by name."""

import os
import signal
from pathlib import Path

import companion.models.finetune as training
import companion.models.score as scoring
from companion.studies.explanations.training import experiment

MARKS, MOMENT = "TEST_MARKS", "TEST_MOMENT"


def execute(spec):
    """As the study's, but the first process that comes to the moment is killed there by SIGKILL."""
    moment = os.environ[MOMENT]
    module, name = (scoring, "score") if moment == "scoring" else (training, "_split_losses")
    original, calls = getattr(module, name), []

    def dying(*arguments, **named):
        calls.append(name)
        if len(calls) == (1 if moment == "scoring" else int(moment)):
            _die_once(spec)
        return original(*arguments, **named)

    setattr(module, name, dying)
    try:
        return experiment.execute(spec)
    finally:
        setattr(module, name, original)


def _die_once(spec) -> None:
    mark = Path(os.environ[MARKS]) / experiment.spec_id(spec)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
