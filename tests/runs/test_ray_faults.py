"""Faults of a grid on a cluster, as in test_faults.py for the local engine."""

import contextlib
import random
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from companion.runs import ray_cluster
from companion.runs.ray_cluster import VARIABLE
from companion.runs.spec import spec_id
from faulty import MOMENTS, RECORDED
from grids import (
    Grid,
    check_rerun,
    end_at_random_points,
    kill,
    one_sentence,
    parent,
    records,
    snapshot,
    wait_for,
)
from workload import Job


@pytest.fixture
def ray_grid(grid, cluster):
    grid.variables[VARIABLE] = cluster.address
    return grid


@pytest.mark.golden
def test_workers_killed_at_every_step_of_writing(ray_grid, reference):
    driver = ray_grid.start(fault="die1")
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 and snapshot(ray_grid.store.folder) == reference, told
    expected = {seed: 1 if seed % MOMENTS in RECORDED else 2 for seed in range(ray_grid.count)}
    assert ray_grid.starts() == {spec_id(Job(seed)): count for seed, count in expected.items()}
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_slots_and_workers_killed_at_random_points(ray_grid, reference):
    chance, driver = random.Random(7), ray_grid.start()
    for _ in range(4):
        wait_for(lambda: driver.poll() is not None or ray_grid.started(), 120)
        time.sleep(chance.uniform(0, 0.4))
        for process in ray_grid.started()[:1]:
            with contextlib.suppress(OSError):
                kill(chance.choice([process, parent(process)]))
    told = driver.communicate(timeout=120)[1]
    assert driver.returncode == 0 or "was killed by SIGKILL" in told or "node was lost" in told, told
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_a_driver_killed_at_random_points(ray_grid, reference):
    end_at_random_points(ray_grid, reference, random.Random(8), (0, 2))
    check_rerun(ray_grid, reference)


@pytest.mark.golden
def test_a_driver_killed_with_the_cluster_that_it_started(nodes, grid, reference):
    """Its cluster ends with it, and does without the ports that are known for Ray: those are taken."""
    grid.variables[VARIABLE] = "local"
    with contextlib.ExitStack() as taken:
        for port in (6379, 8265, 10001):
            with contextlib.suppress(OSError):  # someone else has it
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
        end_at_random_points(grid, reference, random.Random(9), (3,))
        check_rerun(grid, reference)


class Page(BaseHTTPRequestHandler):
    """What answers where another program has the port."""

    def log_message(self, *_):
        pass


@pytest.mark.golden
def test_a_port_that_another_program_has_is_one_sentence(nodes, tmp_path):
    """A program that says nothing, a web server, and a Ray cluster at the port of a node."""
    ray = pytest.importorskip("ray")
    ray.init(nodes.address, **ray_cluster.QUIET)
    ports = [ray.nodes()[0]["NodeManagerPort"]]
    ray.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadingHTTPServer(("127.0.0.1", 0), Page) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        ports += [silent.getsockname()[1], web.server_port]
        grids = [Grid(tmp_path / str(port), variables={VARIABLE: f"127.0.0.1:{port}"}) for port in ports]
        for grid, driver in [(grid, grid.start()) for grid in grids]:
            place = grid.variables[VARIABLE]
            one_sentence(driver, f"The Ray cluster '{place}' cannot be used", "is not the head", timeout=90)
            assert records(grid) == 0 and not grid.processes()
        web.shutdown()


@pytest.mark.golden
def test_a_wrong_token_is_one_sentence(ray_grid):
    one_sentence(ray_grid.start(RAY_AUTH_TOKEN="1" * 64), "it wants another token", timeout=90)
