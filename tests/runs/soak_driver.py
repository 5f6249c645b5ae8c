"""A long grid of tiny trainings, to be measured from outside."""

import sys
from pathlib import Path

from companion.runs import engine, ray_cluster, ray_engine
from companion.runs.store import Store
from tiny_training import Tiny, work

if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    run_all = ray_engine.run_all if ray_cluster.get_cluster_address() else engine.run_all
    specs = [Tiny(seed) for seed in range(count)]
    run_all(specs, work, Store(folder / "records"), workers=2, logs=folder / "logs").raise_if_failed()
