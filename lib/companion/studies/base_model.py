"""Facts that a study with a language model freezes of its base model, and the backend that its workers use."""

from typing import Any

from companion.profiles import Profile
from companion.runs import ray_cluster

SETTINGS = ("model", "revision", "dtype")


def base_settings(profile: Profile) -> dict[str, Any]:
    """Settings of a profile that the facts of the base model depend on."""
    return {name: getattr(profile, name) for name in SETTINGS}


def base_facts(profile: Profile) -> dict[str, Any]:
    """Facts of the profile's base model that specs hold: model, revision, weights (sha256) and dtype.

    Raises CompanionError as ``models.base.locate``.
    """
    from companion.models.base import locate

    dtype = profile.dtype
    if dtype == "auto" and ray_cluster.is_remote():
        # The machine where the command is typed may have no GPU where the nodes have.
        dtype = ray_cluster.ask_cluster("companion.models.base:get_native_dtype", profile.workers)
    found = locate(profile.model, profile.revision, dtype)
    return {"model": profile.model, "revision": profile.revision, "weights": found.sha256, "dtype": found.dtype}


def backend_environment(profile: Profile) -> dict[str, str]:
    """Environment variables that tell workers which backend to use.

    Raises CompanionError where it cannot be had on this machine, or on a node of the cluster that makes the runs.
    """
    from companion.models import backend

    wanted = profile.backend
    if not ray_cluster.is_remote():
        backend.choose_backend(wanted)
    elif wanted == "unsloth":
        ray_cluster.ask_cluster("companion.models.backend:choose_backend", profile.workers, wanted)
    return {backend.VARIABLE: wanted}
