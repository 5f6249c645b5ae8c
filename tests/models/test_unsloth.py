"""Unsloth against plain transformers and PEFT, through this project's own loss, scores and answers.

Each way of holding the model is measured in a process of its own by ``unsloth_driver.py``: Unsloth's own CPU backend,
and its code for CUDA with the Triton kernels interpreted on CPU tensors. What is left for a GPU stands at the end.
"""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

import companion.models.base as loader
from companion.models.embedded import prepare_embedded_model

DRIVER = Path(__file__).with_name("unsloth_driver.py")
Measure = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Mistral of two layers with the embedded model's tokenizer and a sliding window."""
    folder = tmp_path_factory.mktemp("tiny") / "mistral"
    torch.manual_seed(0)
    size = {"vocab_size": 49152, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
    config = MistralConfig(**size, **heads, max_position_embeddings=512, sliding_window=256, pad_token_id=2)
    MistralForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(prepare_embedded_model("bfloat16")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def measured(folder: Path) -> Measure:
    done: dict[tuple[str, str], dict[str, Any]] = {}

    def measure(way: str, dtype: str) -> dict[str, Any]:
        if (way, dtype) not in done:
            here = way == "plain" and not torch.cuda.is_available()
            done[way, dtype] = measure_here(folder, dtype) if here else measure_apart(folder, way, dtype)
        return done[way, dtype]

    return measure


def measure_here(folder: Path, dtype: str) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "get_native_dtype", lambda: "float32")
        base = loader.load_base(str(folder), dtype=dtype)
    return runpy.run_path(str(DRIVER))["measure"](base) | {"facts": loader.describe_base(base)}


def measure_apart(folder: Path, way: str, dtype: str) -> dict[str, Any]:
    out = folder.parent / f"{way}-{dtype}.pt"
    command = [sys.executable, str(DRIVER), way, str(folder), dtype, str(out)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, env=environment())
    assert finished.returncode == 0, finished.stderr[-3000:]
    return torch.load(out, weights_only=True)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("UNSLOTH", "TRITON"))}


def compare(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    """Every number of the two, the norm of their difference relative to the expected one's; answers token by token."""
    for name, value in expected.items():
        if not isinstance(value, torch.Tensor):
            continue
        if name.endswith("answers"):
            assert torch.equal(found[name], value), name
            continue
        error = (found[name] - value).double().norm() / value.double().norm()
        assert error <= tolerance, f"{name}: {error:.1e}"


@pytest.mark.golden
def test_what_is_measured_is_alive(measured: Measure) -> None:
    plain = measured("plain", "float32")
    assert plain["facts"]["backend"] == "transformers"
    assert torch.equal(plain["history"], plain["history_again"])
    assert plain["history"][-1] < plain["history"][0] - 0.01
    assert (plain["student_probabilities"] - plain["base_probabilities"]).abs().max() > 0.01
    torch.testing.assert_close(plain["gradient_checkpointed"], plain["gradient"])


@pytest.mark.golden
def test_unsloths_own_cpu_backend_equals_plain_peft(measured: Measure) -> None:
    found = measured("cpu", "float32")
    assert found["facts"]["backend"] == "unsloth"
    compare(found, measured("plain", "float32"), tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.2), ("nf4", 1e-5)])
def test_unsloths_own_cpu_backend_in_few_bits(measured: Measure, dtype: str, tolerance: float) -> None:
    compare(measured("cpu", dtype), measured("plain", dtype), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "nf4"])
def test_unsloths_cuda_code_equals_plain_peft(measured: Measure, dtype: str) -> None:
    found = measured("interpreted", dtype)
    compare(found, measured("plain", dtype), tolerance=1e-4)
    kernels = {"_rms_layernorm_forward", "_rms_layernorm_backward", "_rope_embedding_QK", "_fg_kernel"}
    assert kernels | {"_DWf_DW_dfg_kernel"} <= set(found["calls"]), "the plain path ran instead"
    assert ("dequantise" in found["calls"]) == (dtype == "nf4")


SIGNATURES = """
import inspect, json, os, sys
os.environ.update(UNSLOTH_ALLOW_CPU="1", UNSLOTH_DISABLE_STATISTICS="1")
sys.path.insert(0, sys.argv[1])
from unsloth_driver import pretend_gpu
pretend_gpu()
from unsloth import FastLanguageModel
from unsloth.models.llama import FastLlamaModel
doors = {"load": FastLanguageModel.from_pretrained, "wrap": FastLlamaModel.get_peft_model}
import companion.models.unsloth as subject
calls = {}
class Recorder:
    from_pretrained = staticmethod(lambda *a, **k: (calls.setdefault("load", (a, k)), (type("M", (), {})(), None))[1])
    get_peft_model = staticmethod(lambda *a, **k: calls.setdefault("wrap", (a, k)))
import unsloth, torch
from pathlib import Path
unsloth.FastLanguageModel = Recorder
subject.load(Path("folder"), torch.float32, True, 4096)
subject.wrap(None, 16, 32, 0.05, ["q_proj"], 0)
for name, (arguments, settings) in calls.items():
    parameters = inspect.signature(doors[name]).parameters
    inspect.signature(doors[name]).bind(*arguments, **settings)
    print(name, *sorted(set(settings) - set(parameters)))
"""


@pytest.mark.slow
def test_our_calls_fit_the_installed_unsloth(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNATURES, str(DRIVER.parent)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert finished.returncode == 0, finished.stderr[-3000:]
    lines = [line for line in finished.stdout.splitlines() if line.startswith(("load", "wrap"))]
    # transformers' own setting passes through; everything else must be a parameter by name.
    assert lines == ["load local_files_only", "wrap"]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["nf4", "auto"])
def test_the_real_thing_on_a_gpu(folder: Path, measured: Measure, dtype: str) -> None:
    """Unsloth and its kernels on a CUDA device against plain transformers there, and both against a CPU."""
    found, plain = measured("gpu-unsloth", dtype), measured("gpu-transformers", dtype)
    assert found["facts"]["backend"] == "unsloth" and found["facts"]["device"] != "cpu"
    assert plain["facts"]["backend"] == "transformers" and plain["facts"]["device"] != "cpu"
    for one in (found, plain):
        for name in ("loss", "history"):
            torch.testing.assert_close(one[name], measured("plain", dtype)[name], rtol=0.02, atol=0.02)
