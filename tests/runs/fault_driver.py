"""A user's command for the fault tests: it makes the grid of a folder; a user's mistake is one sentence."""

import os
import sys
from pathlib import Path

from companion.errors import CompanionError
from companion.runs import engine, ray_cluster, ray_engine
from companion.runs.store import Store
from faulty import work
from workload import Job

if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    run_all = ray_engine.run_all if ray_cluster.get_cluster_address() else engine.run_all
    told = {name: value for name, value in os.environ.items() if name.startswith("TEST_FAULT")}
    try:
        specs = [Job(seed) for seed in range(count)]
        run_all(specs, work, Store(folder / "records"), 2, folder / "logs", environment=told).raise_if_failed()
    except CompanionError as error:
        sys.exit(f"companion: {error}")
