"""One door to image networks: pictures in, one vector for each out.

``efficientnet-lite0`` comes with the packages of this project and is the default. The others want a library of the
user's and weights that it downloads:

* ``torchvision:NAME`` or ``torchvision:NAME@WEIGHTS``, as ``torchvision:vgg16@IMAGENET1K_V1``: what goes into the last
  linear layer. For VGG-16 these are the 4,096 penultimate features, the likely choice of Khaziev et al. (2019).
* ``timm:NAME@REVISION``: the pooled features before the classifier, of ``timm/NAME`` on the Hugging Face hub.
* ``transformers:OWNER/NAME@REVISION`` or ``transformers:FOLDER``: the image features, pooled output or first token.

All but the first get the whole picture, resized to what they were trained on: no centre is cut out as in their own
recipes, since garments reach to the edges. A revision is a commit of the hub: without one the weights could change
unseen. Weights are read as tensors only, never as code.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from companion.errors import CompanionError
from companion.models.efficientnet import NAME, load_efficientnet

BATCH = 16
"""Pictures at a time: on one core twice as fast as 64, which no longer fit its cache."""


@dataclass(frozen=True)
class ImageNetwork:
    """A network ready to embed pictures.

    Attributes:
        name: as given to ``load_image_network``.
        sha256: of the weights.
        extract: takes a batch (n, 3, height, width) of bytes to its (n, d) features.
        device: where the batches go.
    """

    name: str
    sha256: str
    extract: Callable[[Tensor], Tensor]
    device: str

    @property
    def facts(self) -> dict[str, str]:
        """What identifies the network in a spec and in tables."""
        return {"name": self.name, "sha256": self.sha256}

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of each picture, neither centred nor normalised.

        Args:
            images: (n, height, width, 3) sRGB bytes; ``efficientnet-lite0`` takes any size from 32 pixels on as it
                is, the others resize it to what they were trained on.

        Returns:
            (n, d), in the order of the pictures. The last digits depend on the machine and on how many pictures there
            are, since a smaller last batch may be computed in another order.

        Raises:
            CompanionError: another shape or type, no pictures, or features that are not finite.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
            raise CompanionError(
                f"pictures of shape {images.shape} and type {images.dtype}: give bytes as (n, height, width, 3)"
            )
        with torch.inference_mode():
            parts = [self._embed_batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        features = np.concatenate(parts)
        if not (finite := np.isfinite(features).all(axis=1)).all():
            raise CompanionError(f"the features of picture {int(finite.argmin())} from {self.name} are not finite")
        return features

    def _embed_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        # A copy: torch warns of arrays that cannot be written. Its strides are those of channels last, the faster way.
        batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).to(self.device)
        return self.extract(batch).flatten(1).float().cpu().numpy()


def load_image_network(name: str = NAME, device: str = "cpu") -> ImageNetwork:
    """Load a network by name (see the head of this module).

    Args:
        name: ``efficientnet-lite0`` or ``LIBRARY:NAME[@REVISION]``.
        device: ``cpu``, ``cuda`` or what else torch knows.

    Raises:
        CompanionError: there is no such network, its library is not installed, no revision is named where one is
            needed, or its weights cannot be loaded.
    """
    library, colon, rest = name.partition(":")
    if name == NAME:
        network, sha256 = load_efficientnet()
        network.to(device)
        return ImageNetwork(name, sha256, lambda batch: network(batch.float()), device)
    if not colon or library not in LOADERS or not rest:
        known = ", ".join([NAME, *(f"{known}:NAME" for known in LOADERS)])
        raise CompanionError(f"there is no image network {name!r}; choose one of {known}")
    if importlib.util.find_spec(library) is None:
        raise CompanionError(f"{name} needs {library}, which is not installed: install it, or choose {NAME}")
    module, extract = _load_from(library, name, rest)
    module.to(device).eval().requires_grad_(False)
    return ImageNetwork(name, hash_tensors(module.state_dict()), extract, device)


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Sha256 over names, types, shapes and values of weights, whatever file they came from."""
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


Loaded = tuple[nn.Module, Callable[[Tensor], Tensor]]


def _load_from(library: str, name: str, rest: str) -> Loaded:
    model, _, revision = rest.partition("@")
    try:
        return LOADERS[library](model, revision)
    except CompanionError:
        raise
    except Exception as error:  # each library has errors of its own for a name, a download and a file
        kind = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CompanionError(f"{name} could not be loaded: {kind}") from error


def _load_torchvision(model: str, weights: str) -> Loaded:
    models = importlib.import_module("torchvision.models")
    chosen = models.get_model_weights(model)[weights or "IMAGENET1K_V1"]
    network = models.get_model(model, weights=chosen)
    cut_classifier(network)
    preset = chosen.transforms()
    prepare = make_preparation((preset.crop_size[0], preset.crop_size[0]), preset.mean, preset.std)
    return network, lambda batch: network(prepare(batch))


def cut_classifier(network: nn.Module) -> None:
    """Put the identity in place of the last linear layer, so that its inputs come out.

    Raises:
        CompanionError: there is no linear layer.
    """
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise CompanionError("the network has no linear layer whose inputs could be taken as features")
    network.set_submodule(linear[-1], nn.Identity())


def _load_timm(model: str, revision: str) -> Loaded:
    timm = importlib.import_module("timm")
    _need_revision("timm", model, revision)
    hub = {"hf_hub_id": f"timm/{model}@{revision}"}
    network = timm.create_model(model, pretrained=True, num_classes=0, pretrained_cfg_overlay=hub)
    settings = timm.data.resolve_model_data_config(network)
    prepare = make_preparation(settings["input_size"][-2:], settings["mean"], settings["std"])
    return network, lambda batch: network(prepare(batch))


def _load_transformers(model: str, revision: str) -> Loaded:
    from transformers import AutoModel
    from transformers.image_processing_base import ImageProcessingMixin

    if not Path(model).is_dir():
        _need_revision("transformers", model, revision)
    place: dict[str, Any] = {"revision": revision or None}
    # The settings alone: transformers' own image processors need torchvision.
    settings, _ = ImageProcessingMixin.get_image_processor_dict(model, **place)
    prepare = make_preparation(*read_preparation(settings))
    network = AutoModel.from_pretrained(
        model, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, **place
    )
    return network, lambda batch: _take_features(network, prepare(batch))


def read_preparation(settings: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
    """Height and width, mean and standard deviation of each channel, from a ``preprocessor_config.json``.

    Raises:
        CompanionError: it names no size.
    """
    named = settings.get("crop_size") if settings.get("do_center_crop", True) else None
    named = named or settings.get("size") or {}
    side = named if isinstance(named, int) else named.get("shortest_edge")
    height, width = (side, side) if side else (named.get("height"), named.get("width"))
    if not height or not width:
        raise CompanionError("its preprocessor_config.json names no size of pictures")
    if not settings.get("do_normalize", True):
        return (height, width), (0.0,) * 3, (1.0,) * 3
    return (height, width), tuple(settings["image_mean"]), tuple(settings["image_std"])


def _take_features(network: Any, pixels: Tensor) -> Tensor:
    """Projected image features (CLIP, SigLIP), else the pooled output, else the first token of the last layer."""
    if hasattr(network, "get_image_features"):
        output = network.get_image_features(pixel_values=pixels)
        return output if isinstance(output, Tensor) else output.pooler_output
    output = network(pixel_values=pixels)
    pooled = getattr(output, "pooler_output", None)
    return output.last_hidden_state[:, 0] if pooled is None else pooled


def make_preparation(
    size: tuple[int, int], mean: tuple[float, ...], deviation: tuple[float, ...]
) -> Callable[[Tensor], Tensor]:
    """Resize whole pictures (bicubic, height and width apart), scale bytes to 0 to 1 and standardise each channel."""
    centre, scale = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, deviation))

    def prepare(batch: Tensor) -> Tensor:
        resized = nn.functional.interpolate(batch.float(), size=size, mode="bicubic", antialias=True)
        return (resized.clamp(0, 255) / 255 - centre.to(batch.device)) / scale.to(batch.device)

    return prepare


def _need_revision(library: str, model: str, revision: str) -> None:
    if not revision:
        raise CompanionError(f"{library}:{model} has no revision: name a commit of the hub, {library}:{model}@COMMIT")


LOADERS: dict[str, Callable[[str, str], Loaded]] = {
    "torchvision": _load_torchvision,
    "timm": _load_timm,
    "transformers": _load_transformers,
}
"""Libraries of the user's own, and how each loads."""
