"""Unsloth's doors, as this project calls them: load a base, put an adapter on it, take the adapter off again.

The loss, the batches and the optimiser stay this project's own, so that an arm means the same with and without Unsloth;
what Unsloth brings is its forward and backward pass through the blocks.
"""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from companion.models.backend import get_device


def load(folder: Path, dtype: torch.dtype, four_bit: bool, longest: int) -> PreTrainedModel:
    """The causal language model of a local folder on the GPU; `four_bit` quantises it to NF4 while it is read.

    `longest` is the most tokens of a sequence: Unsloth cuts longer ones off without a word.
    """
    from unsloth import DEVICE_TYPE, FastLanguageModel

    model: Any
    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(folder),
        max_seq_length=longest,
        dtype=dtype,
        load_in_4bit=four_bit,
        device_map={"": get_device()},
        use_gradient_checkpointing=False,
        use_exact_model_name=True,
        offload_embedding=False,
        local_files_only=True,
    )
    # Unsloth's own CPU backend leaves the forward pass to transformers.
    model.unsloth_forward = DEVICE_TYPE != "cpu"
    return model


def wrap(model: PreTrainedModel, rank: int, alpha: int, dropout: float, targets: list[str], seed: int) -> PeftModel:
    """The model with a new adapter drawn from `seed`."""
    from unsloth import FastLanguageModel

    return FastLanguageModel.get_peft_model(
        model,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        target_modules=targets,
        use_gradient_checkpointing=False,
        random_state=seed,
    )


def restore(model: PreTrainedModel) -> None:
    """Undo what `wrap` put beside the adapter, once the adapter is off: the fused projections of every block."""
    for block in model.get_decoder().layers:
        vars(block.mlp).pop("forward", None)
        for name in ("apply_qkv", "apply_o"):
            vars(block.self_attn).pop(name, None)
