"""LoRA adapters on a frozen base that all runs of a process share: fresh, attached for a while, saved.

An adapter is a plain dictionary of fp32 tensors under PEFT's own names. It is put onto the base only while it is
trained or used, and taken off again, so no run can leave anything behind for the next one.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import Linear as PeftLinear
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from companion.errors import CompanionError
from companion.models import unsloth
from companion.models.base import Base, is_quantised

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All attention and MLP projections, as in the QLoRA recipe the study falls back on where the paper is silent."""


@dataclass(frozen=True)
class Student:
    """A base with an adapter: `weights` by PEFT name, fp32; None is the base itself, untrained."""

    base: Base
    rank: int = 0
    alpha: int = 0
    weights: dict[str, Tensor] | None = None


class _LoraProduct(torch.autograd.Function):
    """y = x W' + s (x A') B' with a frozen W: products in the dtype of x; A, B and their gradients in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scaling: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        down_cast, up_cast = down.to(x.dtype), (up * scaling).to(x.dtype)
        inner = rows @ down_cast.t()
        y = rows @ weight.t()
        y.addmm_(inner, up_cast.t())
        ctx.save_for_backward(rows, weight, down_cast, up_cast, inner)
        ctx.scaling, ctx.shape = scaling, x.shape
        return y.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        rows, weight, down, up, inner = ctx.saved_tensors
        outer = gradients[0].reshape(-1, weight.shape[0])
        outer_up = outer @ up
        down_gradient = (outer_up.t() @ rows).float()
        up_gradient = (outer.t() @ inner).float() * ctx.scaling
        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = (outer @ weight).addmm_(outer_up, down).view(ctx.shape)
        return x_gradient, None, down_gradient, up_gradient, None


class FastLinear(PeftLinear):
    """PEFT's LoRA layer with its two extra products folded into one autograd step; parameters and names stay PEFT's.

    Without dropout and bias the result is PEFT's; anything else goes PEFT's own way.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in) to (..., out)."""
        if self.disable_adapters or self.merged or self.base_layer.bias is not None or self._drops_out():
            result: Tensor = super().forward(x, *args, **kwargs)
            return result
        name = self.active_adapters[0]
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        product: Tensor = _LoraProduct.apply(x, self.base_layer.weight, down, up, self.scaling[name])
        return product

    def _drops_out(self) -> bool:
        return self.training and isinstance(self.lora_dropout[self.active_adapters[0]], torch.nn.Dropout)


def _lora_config(rank: int, alpha: int, dropout: float = 0.0) -> LoraConfig:
    """PEFT settings of this project: all projections, no bias."""
    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(TARGETS), lora_dropout=dropout, bias="none", task_type="CAUSAL_LM"
    )


@contextmanager
def create_adapter(base: Base, rank: int, alpha: int, seed: int, dropout: float = 0.0) -> Iterator[PeftModel]:
    """The base with a new adapter drawn from `seed` alone (A random, B zero), taken off again whatever happens.

    The draws are the same on every device and with every backend. The process's own random state is left as it was.

    Raises:
        CompanionError: the model has no layers of these names.
    """
    kind = base.model.config.model_type
    if not all(any(name.endswith(target) for name, _ in base.model.named_modules()) for target in TARGETS):
        message = f"Models of type {kind} lack the layers {', '.join(TARGETS)}: use a model of Llama or Mistral type."
        raise CompanionError(message)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped = _wrap(base, rank, alpha, dropout, seed)
    try:
        yield wrapped
    finally:
        wrapped.unload()
        if base.backend == "unsloth":
            unsloth.restore(base.model)


def _wrap(base: Base, rank: int, alpha: int, dropout: float, seed: int) -> PeftModel:
    if base.backend == "unsloth":
        return unsloth.wrap(base.model, rank, alpha, dropout, list(TARGETS), seed)
    config = _lora_config(rank, alpha, dropout)
    if not is_quantised(base.model):
        config._register_custom_module({torch.nn.Linear: FastLinear})
    return cast(PeftModel, get_peft_model(base.model, config))


def unwrap_model(wrapped: PeftModel) -> PreTrainedModel:
    """The causal language model inside PEFT's wrapper."""
    return cast(PreTrainedModel, wrapped.base_model.model)


def get_adapter_weights(wrapped: PeftModel) -> dict[str, Tensor]:
    """Copies of the adapter's tensors by PEFT name."""
    return {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(wrapped).items()}


@contextmanager
def attach_adapter(student: Student) -> Iterator[PreTrainedModel]:
    """The causal language model of a student, in evaluation mode; its adapter comes off the base at the end."""
    if student.weights is None:
        yield student.base.model.eval()
        return
    with create_adapter(student.base, student.rank, student.alpha, seed=0) as wrapped:
        set_peft_model_state_dict(wrapped, student.weights)
        yield unwrap_model(wrapped).eval()


WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def save_adapter(student: Student, folder: Path) -> None:
    """Write a student as `adapter_model.safetensors` and `adapter_config.json`, which plain PEFT loads.

    Raises:
        ValueError: the student is an untrained base.
    """
    if student.weights is None:
        raise ValueError("an untrained base has no adapter to save")
    config = _lora_config(student.rank, student.alpha)
    config.base_model_name_or_path, config.revision = student.base.name, student.base.revision
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    save_file(student.weights, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors lets its owner alone read it
    config.save_pretrained(str(folder))


def load_adapter(base: Base, folder: Path) -> Student:
    """Read a student that `save_adapter` wrote, onto the base it was trained on.

    Raises:
        CompanionError: files that are missing or damaged, an adapter of another shape of training, or of another base.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        rank, alpha, name = int(config["r"]), int(config["lora_alpha"]), config["base_model_name_or_path"]
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RecursionError) as error:
        raise CompanionError(f"{folder} holds no whole adapter ({WEIGHTS} and {CONFIG}): export it again.") from error
    if (name, config.get("revision")) != (base.name, base.revision):
        raise CompanionError(
            f"The adapter in {folder} belongs to {name} at {config.get('revision')}, not to {base.name} at "
            f"{base.revision}: name its own base model."
        )
    factors_only = all(weight.endswith((".lora_A.weight", ".lora_B.weight")) for weight in weights)
    if set(config.get("target_modules") or ()) != set(TARGETS) or not factors_only:
        raise CompanionError(f"The adapter in {folder} is no plain LoRA of all projections: export it again.")
    return Student(base, rank, alpha, weights)


def merge(student: Student, dtype: torch.dtype) -> PreTrainedModel:
    """The student as one model: W + alpha / rank * B A, added in fp32 and rounded once to `dtype`.

    The base of the student is changed by it and must not be used again: give one that was loaded for this.
    """
    model = student.base.model
    for name, down in (student.weights or {}).items():
        if ".lora_A." in name:
            up = cast(dict[str, Tensor], student.weights)[name.replace(".lora_A.", ".lora_B.")]
            layer = model.get_submodule(name.removeprefix("base_model.model.").partition(".lora_A.")[0])
            change = student.alpha / student.rank * (up.float() @ down.float())
            weight = cast(Tensor, layer.weight)
            weight.data = (weight.data.float() + change.to(weight.device)).to(dtype)
    # Not model.to(dtype), which would round the buffers of the rotary embedding too.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
