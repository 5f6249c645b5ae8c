import json
import subprocess
import sys

import numpy as np
import pytest

from companion.errors import CompanionError
from companion.runs import worker


def test_peak_memory_is_of_this_process_not_of_its_parent():
    ballast = np.ones(40_000_000)
    script = "from companion.runs.worker import get_peak_memory; print(get_peak_memory())"
    printed = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert worker.get_peak_memory() > ballast.nbytes > int(printed) > 10_000_000


def test_an_address_leads_to_what_it_names():
    assert worker.resolve("companion.errors:CompanionError") is CompanionError
    with pytest.raises(AttributeError):
        worker.resolve("companion.errors:Nothing")


def test_a_worker_of_a_dead_engine_ends_itself(tmp_path):
    settings = {"parent": 1, "work": "x:y", "kinds": "x:y", "store": str(tmp_path), "logs": str(tmp_path)}
    command = [sys.executable, "-m", "companion.runs.worker", json.dumps(settings)]
    assert subprocess.run(command, stdin=subprocess.PIPE, timeout=30, check=False).returncode == 1
