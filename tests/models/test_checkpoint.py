"""A training that is cut off and goes on from its checkpoint equals, to the bit, one that nothing disturbed."""

import dataclasses
import hashlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import companion.models.checkpoint as subject
import companion.models.finetune as training
from companion import origin
from companion.models.base import Base
from companion.models.batches import Sequence
from companion.models.checkpoint import Checkpoint
from companion.models.finetune import History, ProgressCallback, Recipe, finetune
from companion.models.lora import Student

Make = Callable[..., Base]
Train = Callable[..., tuple[Student, History]]
STEPS = 6


class Killed(Exception):
    """What ends a training in these tests."""


@pytest.fixture
def train(make_base: Make, make_sequences: Callable[..., list[Sequence]], recipe: Recipe) -> Train:
    """Two epochs of three batches with dropout on, in which the process's random state was left anyhow."""
    sequences = make_sequences(10, 5)

    def run(
        checkpoint: Checkpoint | None = None,
        dtype: torch.dtype = torch.float32,
        seed: int = 1,
        device: str = "cpu",
        on_progress: ProgressCallback = lambda *_: None,
    ) -> tuple[Student, History]:
        base = make_base(dtype=dtype)
        base.model.to(device)
        torch.rand(3)
        return finetune(base, sequences, dataclasses.replace(recipe, lora_dropout=0.3), seed, checkpoint, on_progress)

    return run


def digest(made: tuple[Student, History]) -> str:
    student, history = made
    assert student.weights is not None and len(history.loss) == STEPS
    parts = [tensor.numpy().tobytes() for _, tensor in sorted(student.weights.items())]
    parts += [array.dtype.str.encode() + array.tobytes() for array in dataclasses.asdict(history).values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextmanager
def killed_at(step: int, name: str = "_split_losses") -> Iterator[list[int]]:
    """Raise inside the step of this number, counted from here, by default when the optimiser has stepped already."""
    calls: list[int] = []
    original = getattr(training, name)

    def dying(*arguments):
        calls.append(len(calls))
        if len(calls) == step:
            raise Killed
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, name, dying)
        yield calls


def kill(train: Train, step: int, *arguments, **named) -> None:
    with killed_at(step), pytest.raises(Killed):
        train(*arguments, **named)


def test_a_training_killed_at_any_step_goes_on_to_the_same_bits(train: Train, tmp_path: Path) -> None:
    whole = digest(train())
    for step in range(1, STEPS + 1):
        place = Checkpoint(tmp_path / f"{step}.safetensors", 0)
        kill(train, step, place)
        with killed_at(0) as calls:
            assert digest(train(place)) == whole
        assert len(calls) == STEPS - step + 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_training_killed_at_every_step_goes_on_to_the_same_bits(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(training, "FIRST_LOSS_SCALE", 2.0**22)  # may overflow in some steps and not in others
    whole, place = digest(train(dtype=dtype)), Checkpoint(tmp_path / "c", 0)
    for _ in range(STEPS - 1):
        kill(train, 2, place, dtype=dtype)
    assert digest(train(place, dtype=dtype)) == whole


def test_a_training_that_goes_on_tells_where_it_is(train: Train, tmp_path: Path) -> None:
    place, told = Checkpoint(tmp_path / "c", 0), []
    kill(train, 4, place)
    _, history = train(place, on_progress=lambda *one: told.append(one))
    assert [done for done, *_ in told] == [3, 4, 5, 6]
    assert told[0] == (3, STEPS, history.examples_seen[2], history.loss[2])


def test_the_scale_of_the_loss_is_part_of_the_state(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "FIRST_LOSS_SCALE", 2.0**30)
    whole, place = digest(train(dtype=torch.float16)), Checkpoint(tmp_path / "c", 0)
    kill(train, 3, place, dtype=torch.float16)
    with killed_at(0, "_update_loss_scale") as tries:
        assert digest(train(place, dtype=torch.float16)) == whole
    assert len(tries) < STEPS, "the scales that overflowed before are not tried again"


def test_the_room_on_a_full_card_is_part_of_the_state(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    batch_loss = training.batch_loss

    def limited(model, head, sequences, size=None):
        sizes.append(len(sequences))
        if len(sequences) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch_loss(model, head, sequences, size)

    monkeypatch.setattr(training, "batch_loss", limited)
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 0)
    kill(train, 3, place)
    sizes.clear()
    assert digest(train(place)) == whole
    assert max(sizes) <= 2


def test_steps_since_the_last_write_are_trained_again(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 2)
    clock = iter(range(0, 60_000, 60))  # looked at once before the first step, then after each step
    monkeypatch.setattr(subject.time, "monotonic", lambda: next(clock))
    kill(train, 4, place)
    with killed_at(0) as calls:
        assert digest(train(place)) == whole
    assert len(calls) == 4


def test_a_finished_training_is_not_trained_again(train: Train, tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "deep" / "c", 10_000)
    whole = digest(train(place))
    assert [file.name for file in place.file.parent.iterdir()] == ["c"]
    with killed_at(1):
        assert digest(train(place)) == whole == digest(train(place))


def test_a_checkpoint_leaves_the_random_state_of_the_process(train: Train, tmp_path: Path) -> None:
    place = Checkpoint(tmp_path / "c", 0)
    train()
    expected = torch.get_rng_state()
    kill(train, 4, place)
    train(place)
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_checkpoint_of_another_training_is_not_used(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 0)
    kill(train, 4, place, seed=2)
    assert digest(train(place)) == whole
    assert "is not used, because it is of a training with other settings" in capfd.readouterr().err
    assert digest(train(place)) == whole, "it was replaced"
    assert "resumes after step 6" in capfd.readouterr().err


def test_whatever_decides_the_result_decides_the_identity(
    make_base: Make, make_sequences: Callable[..., list[Sequence]], recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, sequences, made_by = make_base(), make_sequences(4, 2), origin.describe_origin()
    other = [*sequences[:-1], dataclasses.replace(sequences[-1], group="a")]

    def identity(base=base, sequences=sequences, recipe=recipe, seed=0, run="r") -> str:
        return training._hash_inputs(base, sequences, recipe, seed, run)

    changed = [{"run": "s"}, {"seed": 1}, {"sequences": other}, {"sequences": sequences[::-1]}]
    changed += [{"recipe": dataclasses.replace(recipe, lora_dropout=0.1)}, {"base": make_base(dtype=torch.bfloat16)}]
    changed += [{"base": dataclasses.replace(base, sha256="1")}]
    found = [identity(), *(identity(**change) for change in changed)]
    assert identity(base=make_base(), sequences=make_sequences(4, 2)) == found[0]
    monkeypatch.setattr(training, "describe_origin", lambda: {**made_by, "commit": "another"})
    assert identity() == found[0], "the code is the same"
    for name in ("processor", "torch"):
        monkeypatch.setattr(training, "describe_origin", lambda name=name: {**made_by, name: "another"})
        found.append(identity())
    torch.set_num_threads(2)
    found.append(identity())
    assert len(set(found)) == len(found)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in a checkout, which is taken for this library."""
    module = tmp_path / "companion" / "module.py"
    module.parent.mkdir()
    module.write_text("committed = True")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a commit -qm Begin"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    monkeypatch.setattr(origin, "__file__", str(module))
    yield module
    forget_code()


def forget_code() -> None:
    """Look the code up again, as a new process does."""
    for looked_up in (origin.hash_code, origin.get_commit):
        looked_up.cache_clear()


def test_a_checkpoint_of_other_code_is_not_used_where_no_commit_tells_them_apart(
    train: Train, tmp_path: Path, library: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Checkpoint(tmp_path / "c", 0)
    for change, used in ((1, False), (2, False), (2, True)):
        library.write_text(f"committed = {change}")
        forget_code()
        assert origin.get_commit().endswith("-dirty")
        train(place)
        told = capfd.readouterr().err
        assert ("resumes after step 6" in told) == used and ("is not used" in told) == (not used and change == 2)


def test_a_damaged_checkpoint_costs_only_its_time(
    train: Train, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 0)
    kill(train, 4, place)
    sound = place.file.read_bytes()
    for content in (sound[:-1], sound[:-5] + bytes([sound[-5] ^ 1]) + sound[-4:]):
        place.file.write_bytes(content)
        assert digest(train(place)) == whole
        assert "is not used, because it" in capfd.readouterr().err


def test_no_damage_goes_unseen(train: Train, tmp_path: Path) -> None:
    file = tmp_path / "c"
    kill(train, 2, Checkpoint(file, 0))
    sound = file.read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")
    of = subject.json.loads(subject.json.loads(sound[8:header])["__metadata__"]["facts"])["of"]
    intact = tensors_of(file, of)
    draw = np.random.default_rng(0)
    for position in (*draw.integers(0, header, 150), *draw.integers(header, len(sound), 20)):
        flipped = bytes([sound[position] ^ 1 << int(draw.integers(8))])
        file.write_bytes(sound[:position] + flipped + sound[position + 1 :])
        assert tensors_of(file, of) in (None, intact), f"byte {position}"
    for length in (0, 7, header, *draw.integers(0, len(sound), 20)):
        file.write_bytes(sound[:length])
        assert tensors_of(file, of) is None, f"{length} bytes"


def tensors_of(file: Path, of: str) -> tuple[object, object] | None:
    """Whatever is used of a checkpoint; None where it is not used."""
    try:
        tensors, facts = subject._read(file, of)
    except subject._UnusableCheckpoint:
        return None
    return {name: (tensor.dtype, tensor.numpy().tobytes()) for name, tensor in tensors.items()}, facts


def test_a_full_disk_costs_only_the_checkpoint(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 0)
    kill(train, 3, place)
    kept = place.file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert digest(train(place)) == whole
    said = capfd.readouterr().err
    assert said.count("Training continues without a checkpoint of step") == STEPS - 2 and "No space left" in said
    assert place.file.read_bytes() == kept and list(tmp_path.iterdir()) == [place.file]
    assert digest(train(place)) == whole


def test_ctrl_c_while_a_checkpoint_is_written_leaves_the_last_one(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, place = digest(train()), Checkpoint(tmp_path / "c", 0)
    kill(train, 3, place)
    # A process that was started in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.fsync", lambda _: signal.raise_signal(signal.SIGINT))
        train(place)
    signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == [place.file]
    with killed_at(0) as calls:
        assert digest(train(place)) == whole
    assert len(calls) == STEPS - 2


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_on_a_gpu_a_killed_training_goes_on_to_the_same_losses(
    train: Train, tmp_path: Path, dtype: torch.dtype
) -> None:
    _, whole = train(dtype=dtype, device="cuda")
    place = Checkpoint(tmp_path / "c", 0)
    kill(train, 4, place, dtype=dtype, device="cuda")
    with killed_at(0) as calls:
        _, found = train(place, dtype=dtype, device="cuda")
    assert len(calls) == STEPS - 3 and found.examples_seen.tolist() == whole.examples_seen.tolist()
    np.testing.assert_allclose(found.loss, whole.loss, rtol=1e-4 if dtype == torch.float32 else 1e-2)
