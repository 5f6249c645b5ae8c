"""Sentences of the simulated annotators, and sentences that say nothing, read from ``phrases.yaml`` in this folder.

Without the fillers a rater could read the comprehensiveness level off the length (Spearman 0.70 when replies are only
cut). Training has its own sentences, and validation and test share the others, so that a rater that learned sentences
instead of their meaning is found out.
"""

from pathlib import Path
from typing import Any, Literal

import yaml

Severity = Literal["clean", "reserved", "slight", "moderate", "strong", "extreme"]
"""How bad an annotator finds it; ``clean`` and ``reserved`` are for responses to which nothing was done."""
Phrases = dict[str, dict[str, list[str]]]

_CONTENT: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
VERDICTS: dict[str, Phrases] = _CONTENT["verdicts"]
EVIDENCE: dict[str, Phrases] = _CONTENT["evidence"]
CLOSINGS: dict[str, Phrases] = _CONTENT["closings"]
"""By ``train`` or ``held_out``, axis, and severity or kind of evidence."""
_FILLERS: dict[str, list[str]] = _CONTENT["fillers"]
FILLERS = {"train": _FILLERS["train"], "validation": _FILLERS["held_out"], "test": _FILLERS["held_out"]}
"""By split."""
