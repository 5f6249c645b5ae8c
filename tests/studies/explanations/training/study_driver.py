"""A user's command that makes the records of a study, for tests that end it; settings come as JSON."""

import json
import sys
from dataclasses import replace
from pathlib import Path

from companion.profiles import Profile, validate
from companion.studies.explanations.settings import ExplanationsSettings
from companion.studies.explanations.study import ExplanationsStudy
from companion.studies.study import run

if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    profile = replace(validate(Profile, told["profile"], "profile"), checkpoint_minutes=0.0)
    settings = validate(ExplanationsSettings, told["settings"], "settings")
    run(ExplanationsStudy(profile, settings, Path(sys.argv[2]))).raise_if_failed()
