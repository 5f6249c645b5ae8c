"""Which Ray cluster is meant, how to be connected to it, and what it has room for.

Ray is imported where a cluster is asked for and nowhere else.
"""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from companion.errors import CompanionError
from companion.runs.engine import python_path
from companion.runs.worker import resolve

VARIABLE = "COMPANION_RAY"
HERE = "local"
QUIET = {"logging_level": "ERROR", "log_to_driver": False}
CLOSED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # On every system Ray's switch between the loopback address and all addresses.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Variables for a cluster that is started here; Ray reads them as it is imported."""

OBJECT_STORE = 256 * 2**20
SECONDS_TO_CONNECT = 10
SECONDS_TO_ANSWER = 30
SECONDS_TO_WAIT = 60
"""How long a place is waited for in silence; the process that replies must start first."""
ASK_HEAD = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
NO_NODE = "The Ray cluster has no node left that takes runs; what was made is kept, so run again when it has."


def get_cluster_address() -> str:
    """What ``$COMPANION_RAY`` names: ``HOST:PORT`` of a cluster, ``local`` for one that is started here, or nothing.

    Raises:
        CompanionError: it is something else.
    """
    named = os.environ.get(VARIABLE, "")
    if named not in ("", HERE) and not re.fullmatch(r"[^:/\s]+:\d{1,5}", named):
        raise CompanionError(
            f"{VARIABLE} is {named!r}; give HOST:PORT of a Ray cluster's head, {HERE} to start one on this machine, or "
            "unset it."
        )
    return named


def is_remote() -> bool:
    """Whether ``$COMPANION_RAY`` names a cluster whose nodes may be other machines than this one."""
    return get_cluster_address() not in ("", HERE)


def ask_cluster(question: str, workers: int, *arguments: str) -> Any:
    """What a function says in a place for runs on some node of the cluster that ``$COMPANION_RAY`` names.

    Args:
        question: address of the function, ``module:name``.
        workers: as :func:`companion.runs.ray_engine.run_all`.

    Raises:
        CompanionError: the function raised it; or as :func:`companion.runs.ray_engine.run_all`.
    """
    with connect_to_cluster(workers):
        import ray

        takes, _ = compute_demand(ray.nodes(), workers)
        try:
            asked: Any = ray.remote(_call_question).options(**takes)
            reply = asked.remote(question, arguments)
            if not ray.wait([reply], timeout=SECONDS_TO_WAIT)[0]:
                warnings.warn("Nothing is free on the Ray cluster; waiting for a place.", stacklevel=2)
            return ray.get(reply)
        except ray.exceptions.RayError as error:
            if isinstance(cause := getattr(error, "cause", None), CompanionError):
                raise cause from None
            raise CompanionError(explain_refusal(error)) from error


def explain_refusal(error: Exception) -> str:
    """Why a node takes no runs, in one sentence."""
    reason = str(error).strip().splitlines()[-1].rstrip(".")
    return f"A node cannot take runs: {reason}; every node needs the same companion, Python and Ray."


def _call_question(question: str, arguments: Sequence[str]) -> Any:
    return resolve(question)(*arguments)


@contextlib.contextmanager
def connect_to_cluster(workers: int) -> Iterator[None]:
    """Be connected to the cluster that ``$COMPANION_RAY`` names, or to one that is started for this block.

    Raises:
        CompanionError: Ray is not installed or in use by this process already, or the cluster cannot be reached.
    """
    place = get_cluster_address() or HERE
    options: dict[str, Any] = dict(QUIET)
    if place == HERE:
        for name, value in CLOSED.items():
            os.environ.setdefault(name, value)
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        import ray
    except ImportError as error:
        raise CompanionError(
            f"{VARIABLE} asks for Ray, which is not installed: run `pip install -c constraints.txt -e '.[cluster]'`, "
            f"or unset {VARIABLE}."
        ) from error
    if ray.is_initialized():
        raise CompanionError(
            f"This process uses a Ray cluster already; call ray.shutdown() first, or unset {VARIABLE}."
        )
    try:
        try:
            if place != HERE:
                _ask_head(place)
            ray.init(place, **options)
            if place == HERE and not _require_loopback(ray.nodes()):
                raise RuntimeError("Ray was imported before, set to listen on every address; use a fresh process")
        except (OSError, RuntimeError, ValueError, OverflowError, ray.exceptions.RayError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise CompanionError(f"The Ray cluster {place!r} cannot be used: {reason}.") from error
        yield
    finally:
        ray.shutdown()


def _ask_head(place: str) -> None:
    """Ask what answers at an address whether it is a cluster that takes us.

    A child asks: Ray tries for minutes where another program has the port or the token is wrong, and then ends the
    process that asked.

    Raises:
        OSError: nothing answers, or not the head of a cluster, or it wants another token.
    """
    host, port = place.rsplit(":", 1)
    socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    variables = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5", "PYTHONPATH": python_path(sys.path)}
    command = [sys.executable, "-P", "-c", ASK_HEAD, place]
    try:
        asked = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, timeout=SECONDS_TO_ANSWER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"what has that port does not answer within {SECONDS_TO_ANSWER} seconds") from error
    if b"AuthenticationError" in asked.stderr:
        raise OSError("it wants another token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's")
    if asked.returncode:
        raise OSError("what has that port is not the head of a Ray cluster")


def _require_loopback(nodes: Sequence[Mapping[str, Any]]) -> bool:
    return {node["NodeManagerAddress"] for node in nodes} <= {"127.0.0.1", "::1"}


def compute_demand(nodes: Sequence[Mapping[str, Any]], workers: int) -> tuple[dict[str, float], int]:
    """What one slot takes of a node, and how many slots the nodes have: shares of a GPU, or a processor each.

    Args:
        nodes: as ``ray.nodes()`` gives them.
        workers: slots of each GPU.

    Raises:
        CompanionError: there is none.
    """
    if gpus := count_resource(nodes, "GPU"):
        # Ray counts in ten-thousandths and rounds, and the shares must not add up to more than the card.
        return {"num_cpus": 0, "num_gpus": 10_000 // workers / 10_000}, gpus * workers
    if processors := count_resource(nodes, "CPU"):
        return {"num_cpus": 1}, processors
    raise CompanionError(NO_NODE)


def count_resource(nodes: Sequence[Mapping[str, Any]], resource: str) -> int:
    """Count a resource, such as "GPU", over the connected nodes."""
    return sum(int(node["Resources"].get(resource, 0)) for node in nodes if node["Alive"])
