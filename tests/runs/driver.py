"""A user's script for the engines' tests: make a small grid, to be killed or watched from outside."""

import signal
import sys
from pathlib import Path

from companion.runs import engine, ray_cluster, ray_engine
from companion.runs.store import Store
from workload import Job, work

if __name__ == "__main__":
    folder, action, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # a shell that puts the tests into the background lets them ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
    specs = [Job(seed, action, str(folder)) for seed in range(count)]
    run_all = ray_engine.run_all if ray_cluster.get_cluster_address() else engine.run_all
    run_all(specs, work, Store(folder / "records"), workers=2, logs=folder / "logs").raise_if_failed()
