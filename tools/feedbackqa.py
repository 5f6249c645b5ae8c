"""Turn a folder of FeedbackQA's feedback_*.json files into the rows that `companion compare` reads.

    python tools/feedbackqa.py FOLDER ROWS.jsonl

One row for each rating: question and passage as the text, the rating, the rater's own reason, and the question as the
group. The release states no licence: keep the rows to yourself.
"""

import json
import sys
from pathlib import Path

folder, rows = map(Path, sys.argv[1:])
if not (files := sorted(folder.glob("feedback_*.json"))):
    sys.exit(f"{folder} holds no feedback_*.json; name the folder of the release that has them.")
with rows.open("w", encoding="utf-8") as lines:
    for file in files:
        for item in json.loads(file.read_text(encoding="utf-8")):
            question, passage = item["question"], item["passage"]["reference"]["section_content"]
            for rating, reason in zip(item["rating"], item["feedback"], strict=True):
                row = {"text": f"Question: {question} Answer: {passage}", "rating": rating, "reason": reason}
                lines.write(json.dumps({**row, "question": question}) + "\n")
