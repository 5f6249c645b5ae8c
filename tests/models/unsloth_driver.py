"""Everything this project asks of a base model, as numbers; in a process of its own, because Unsloth patches others.

usage: python unsloth_driver.py WAY MODEL DTYPE OUT. WAY is `plain` (transformers and PEFT on a CPU), `cpu` (Unsloth's
own CPU backend), `interpreted` (Unsloth's code for CUDA, its kernels run on CPU tensors by Triton's interpreter), and
on a machine with a GPU `gpu-unsloth` or `gpu-transformers`.
"""

import os
import sys
import types
from pathlib import Path
from typing import Any

SETTINGS = {
    "plain": {"CUDA_VISIBLE_DEVICES": ""},
    "cpu": {"CUDA_VISIBLE_DEVICES": "", "UNSLOTH_FORCE_CPU": "1"},
    "gpu-unsloth": {"COMPANION_BACKEND": "unsloth"},
    "gpu-transformers": {"COMPANION_BACKEND": "transformers"},
    "interpreted": {
        "CUDA_VISIBLE_DEVICES": "",
        "UNSLOTH_ALLOW_CPU": "1",
        "TRITON_INTERPRET": "1",
        "UNSLOTH_COMPILE_DISABLE": "1",
        "TORCHDYNAMO_DISABLE": "1",
    },
}


class PerDevice(list):
    """A list with one entry per GPU that also takes what Unsloth finds for a CPU tensor: no index, or the name."""

    def __getitem__(self, index: Any) -> Any:
        return list.__getitem__(self, index if isinstance(index, int | slice) else 0)

    def __setitem__(self, index: Any, value: Any) -> None:
        list.__setitem__(self, index if isinstance(index, int | slice) else 0, value)


class OneDevice(int):
    """A number of GPUs, 1, that makes such lists."""

    def __rmul__(self, other: Any) -> Any:
        return PerDevice(other) if isinstance(other, list) else int(self) * other


def pretend_gpu() -> None:
    """Answer the few questions that Unsloth asks a GPU."""
    import torch

    card = {"name": "stand-in", "total_memory": 8 << 30, "major": 8, "minor": 0, "multi_processor_count": 1}
    torch.cuda.current_device = lambda: 0
    torch.cuda.get_device_capability = lambda *_: (8, 0)
    torch.cuda.get_device_properties = lambda *_: types.SimpleNamespace(**card)
    torch.cuda.synchronize = lambda *_: None
    torch.cuda.mem_get_info = lambda *_: (8 << 30, 8 << 30)


def unsloth_modules() -> list[types.ModuleType]:
    return [
        module
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("unsloth", "unsloth_zoo") and isinstance(module, types.ModuleType)
    ]


def send_kernels_to_cpu() -> None:
    """Point the loaded modules of Unsloth at CPU tensors; modules load late, so it is called again after each step."""
    import triton.language as tl

    # Triton's interpreter replaces tl.cast, not the name that Unsloth keeps of it.
    stand_ins = {
        "triton_cast": lambda x, dtype: tl.cast(x, dtype),
        "DEVICE_TYPE_TORCH": "cpu",
        "DEVICE_COUNT": OneDevice(1),
        "get_current_device": lambda: "cpu",
        "ALLOW_BITSANDBYTES": True,
    }
    for module in unsloth_modules():
        for name in vars(module).keys() & stand_ins:
            setattr(module, name, stand_ins[name])


def open_cuda_branch(calls: dict[str, int]) -> None:
    """Let fp32 and 4-bit weights take the fused path; count its kernels and dequantisations."""
    import bitsandbytes
    import torch
    import triton.runtime.interpreter as interpreter
    import unsloth.kernels.utils as kernels
    import unsloth.models.llama as llama

    run = interpreter.GridExecutor.__call__

    def counted(self: Any, *arguments: Any, **settings: Any) -> Any:
        calls[self.fn.__name__] = calls.get(self.fn.__name__, 0) + 1
        return run(self, *arguments, **settings)

    def dequantise(weight: Any, state: Any = None, out: Any = None, *_: Any, **__: Any) -> Any:
        if state is None:
            return weight
        calls["dequantise"] = calls.get("dequantise", 0) + 1
        return bitsandbytes.functional.dequantize_4bit(weight, state, out=out)

    interpreter.GridExecutor.__call__ = counted
    kernels._fast_dequantize_bnb = dequantise
    # Unsloth leaves fp32 to PEFT; told that the weights are of another dtype it takes its own kernels.
    llama._base_weight_dtype = lambda _: torch.float16


def measure(base: Any) -> dict[str, Any]:
    """Loss, gradients (with and without checkpointing), a short training, scores and answers of one base."""
    import torch

    from companion.models.batches import Sequence
    from companion.models.finetune import Recipe, checkpoint_activations, finetune
    from companion.models.forward import get_head_weight, prepare_attention
    from companion.models.lora import Student, create_adapter, get_adapter_weights, unwrap_model
    from companion.models.loss import batch_loss
    from companion.models.score import generate, score

    draw = torch.Generator().manual_seed(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(100, 49_000, (count,), generator=draw).tolist())

    shared = tokens(4)
    sequences = [Sequence(shared + tokens(1 + 3 * n), tokens(1 + n), (1 / (1 + n),) * (1 + n), 0) for n in range(4)]
    prompts = [list(one.prompt) for one in sequences]
    found: dict[str, Any] = {"embedding": base.model.get_input_embeddings().weight.detach().clone()}
    with create_adapter(base, 4, 8, seed=3) as wrapped:
        found["initial"] = torch.cat([tensor.flatten() for _, tensor in sorted(get_adapter_weights(wrapped).items())])
        model = unwrap_model(wrapped)
        adapters = sorted((name, one) for name, one in model.named_parameters() if "lora_" in name)
        for _, parameter in adapters:
            parameter.data = (torch.randn(parameter.shape, generator=draw) * 0.2).to(parameter.device)
        model.train()
        for again in (False, True):
            with prepare_attention(model), checkpoint_activations(model, again):
                loss, losses = batch_loss(model, get_head_weight(model), sequences)
                loss.backward()
            ending = "_checkpointed" if again else ""
            found[f"loss{ending}"], found[f"losses{ending}"] = loss.detach(), losses.detach()
            found[f"gradient{ending}"] = torch.cat([one.grad.float().flatten() for _, one in adapters])
            model.zero_grad()
    recipe = Recipe(2e-3, 2, 2, 4, 8, 0.1, 0.3, 0.01, 1.0, 64)
    student, history = finetune(base, sequences, recipe, seed=1)
    found["history"] = torch.from_numpy(history.loss)
    for name, which in (("student", student), ("base", Student(base))):
        scores = score(which, prompts, [33, 34, 35, 36, 37], inside=True)
        found[f"{name}_probabilities"], found[f"{name}_layers"] = map(
            torch.from_numpy, (scores.probabilities, scores.layers)
        )
        found[f"{name}_answers"] = torch.tensor(
            [answer + [-1] * (4 - len(answer)) for answer in generate(which, prompts, 4)]
        )
    found["history_again"] = torch.from_numpy(finetune(base, sequences, recipe, seed=1)[1].loss)
    return found


def start_unsloth(way: str, calls: dict[str, int]) -> None:
    """Import Unsloth where `backend.start_backend` would refuse, for want of a GPU."""
    from companion.models import backend

    if way == "interpreted":
        pretend_gpu()
    backend.import_unsloth()
    backend.start_backend = lambda: "unsloth"  # type: ignore[assignment]
    if way == "cpu":
        return
    import unsloth

    send_kernels_to_cpu()
    open_cuda_branch(calls)
    for name in ("from_pretrained", "get_peft_model"):
        setattr(unsloth.FastLanguageModel, name, staticmethod(followed(getattr(unsloth.FastLanguageModel, name))))


def followed(step: Any) -> Any:
    """A step of Unsloth that loads modules, after which the kernels are sent to the CPU again."""

    def run(*arguments: Any, **settings: Any) -> Any:
        result = step(*arguments, **settings)
        send_kernels_to_cpu()
        return result

    return run


def main(way: str, model: str, dtype: str, out: str) -> None:
    os.environ.update(SETTINGS[way], UNSLOTH_COMPILE_LOCATION=str(Path(out).with_suffix(".cache")))
    import torch

    torch.set_num_threads(1)
    calls: dict[str, int] = {}
    if way in ("cpu", "interpreted"):
        start_unsloth(way, calls)
    from companion.models import backend

    backend.start_backend()
    from companion.models import base as loader

    if not way.startswith("gpu"):
        # So that 4-bit weights are computed with in a dtype whose rounding hides nothing.
        loader.get_native_dtype = lambda: "float32"
    loaded = loader.load_base(model, dtype=dtype)
    found = {name: value.cpu() for name, value in measure(loaded).items()}
    torch.save({**found, "facts": loader.describe_base(loaded), "calls": calls}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
