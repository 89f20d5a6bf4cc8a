"""Single frames ahead of clips, rendered clips that all phases share, and the dense twin: whole runs, tiny."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from svf_edge.errors import BadFile
from svf_edge.model.config import model_config
from svf_edge.model_store import load_model, save_model
from svf_edge.quant import is_quantised
from svf_edge.training import TaskTraining, start_model, train
from svf_edge.training.clips import NewClips
from svf_edge.training.run import stages
from svf_edge.training_config import TrainConfig, load_train_config
from tests.models import float_model

CONFIG = """
name: images
model: {{size: tiny, frames: 2, frame_size: [32, 32], levels: 4, reset: soft}}
data: {{kind: cached, folder: {folder}, length: 8, frames: 3}}
val_data: {{kind: synthetic}}
image_phase: {{epochs: 1, clips_per_epoch: 16, learning_rate: 0.003}}
float_phase: {{epochs: 1, clips_per_epoch: 8, learning_rate: 0.002}}
qat_phase: {{epochs: 1, clips_per_epoch: 4, learning_rate: 0.0005}}
batch_size: 4
optimiser: muon
validation_clips: 4
calibration_clips: 4
workers: 0
pictures: false
"""


def configuration(folder: Path, *changes: str) -> TrainConfig:
    path = folder / "images.yaml"
    path.write_text(CONFIG.format(folder=folder / "clips"))
    return load_train_config(path, changes)


def first_weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, torch.Tensor]]:
    """Filled with the weights that every phase starts from, by phase."""
    seen: dict[str, dict[str, torch.Tensor]] = {}
    plain = TaskTraining.on_train_epoch_start

    def keep(self: TaskTraining) -> None:
        seen.setdefault(self.name, {name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        plain(self)

    monkeypatch.setattr(TaskTraining, "on_train_epoch_start", keep)
    return seen


def test_images_come_first_and_their_weights_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(tmp_path)
    started = first_weights(monkeypatch)
    folder = tmp_path / "run"
    assert train(config, folder) == folder / "model.safetensors"
    assert list(started) == ["image", "float", "qat"]

    image, meta = load_model(folder / "image.safetensors")
    assert image.config.frames == 1 and not is_quantised(image)
    assert TrainConfig.model_validate(meta["training"]).batch_size == 8
    state = image.state_dict()
    changed = [name for name, tensor in state.items() if not tensor.equal(started["image"][name])]
    assert {name for name, _ in image.named_parameters()} <= set(changed)
    assert [name for name, tensor in started["float"].items() if not tensor.equal(state[name])] == []

    float_, _ = load_model(folder / "float.safetensors")
    model, meta = load_model(folder / "model.safetensors")
    assert float_.config.frames == model.config.frames == 2 and is_quantised(model)
    assert {"float", "post_training_quantisation"} <= meta.keys()
    rows = json.loads((folder / "metrics.json").read_text())["epochs"]
    assert [(row["phase"], row["step"]) for row in rows] == [("image", 2), ("float", 2), ("qat", 1)]
    assert all(0.001 < row["rate"] < 0.9 for row in rows)
    # All phases took what was rendered once: clips of three frames.
    assert json.loads((tmp_path / "clips" / "train" / "identity.json").read_text())["frames"] == 3


def test_a_dense_twin_ends_with_float_training(tmp_path: Path) -> None:
    config = configuration(tmp_path, "model.neuron=relu")
    folder = tmp_path / "run"
    assert train(config, folder) == folder / "float.safetensors"
    assert sorted(path.name for path in folder.glob("*.safetensors")) == ["float.safetensors", "image.safetensors"]
    model, meta = load_model(folder / "float.safetensors")
    assert model.config.neuron == "relu" and meta["metrics"].keys() >= {"pck@0.2", "firing_rate"}
    rows = json.loads((folder / "metrics.json").read_text())["epochs"]
    assert [row["phase"] for row in rows] == ["image", "float"]
    assert all("loss/pose" in row and "loss/rate" not in row for row in rows)  # what does not spike pays for none
    before = (folder / "float.safetensors").stat().st_mtime_ns
    assert train(config, folder).stat().st_mtime_ns == before


DENSE = "dense_phase={epochs: 1, clips_per_epoch: 8, learning_rate: 0.003}"


def test_a_spiking_network_goes_on_from_its_dense_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin's weights arrive, and no layer is silent; only a gain may have been moved for that."""
    config = configuration(tmp_path, DENSE, "image_phase.rate_weight=0")
    started = first_weights(monkeypatch)
    folder = tmp_path / "run"
    train(config, folder)
    assert list(started) == ["dense", "image", "float", "qat"]
    dense, meta = load_model(folder / "dense.safetensors")
    assert dense.config.neuron == "relu" and dense.config.frames == 1
    assert TrainConfig.model_validate(meta["training"]).model.neuron == "relu"
    gains = {f"{name}.weight" for name, module in dense.named_modules() if isinstance(module, nn.BatchNorm2d)}
    moved = {name for name, tensor in dense.state_dict().items() if not tensor.equal(started["image"][name])}
    assert moved <= gains
    image, _ = load_model(folder / "image.safetensors")
    assert image.config.neuron == "lif"
    rows = json.loads((folder / "metrics.json").read_text())["epochs"]
    assert [row["phase"] for row in rows] == ["dense", "image", "float", "qat"]
    charges = [row.get("loss/rate") for row in rows]
    assert charges[0] is None and charges[1] == 0 and charges[2] is not None


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ((DENSE,), ["dense", "image", "float", "folded", "model"]),
        ((DENSE, "image_phase=null"), ["dense", "float", "folded", "model"]),
        ((DENSE, "model.neuron=relu"), ["dense", "image", "float"]),
        ((), ["image", "float", "folded", "model"]),
        (("image_phase=null",), ["float", "folded", "model"]),
        (("model.neuron=relu",), ["image", "float"]),
        (("model.neuron=relu", "image_phase=null"), ["float"]),
    ],
)
def test_stages(tmp_path: Path, changes: tuple[str, ...], names: list[str]) -> None:
    assert [stage.name for stage in stages(configuration(tmp_path, *changes))] == names


def test_phases_take_clips_one_after_another(tmp_path: Path) -> None:
    """No clip of the stream belongs to two phases or epochs, and none is left out between them."""
    config = configuration(tmp_path, "image_phase.epochs=3", "float_phase.epochs=2")
    assert (config.first_clip("image"), config.first_clip("float"), config.first_clip("qat")) == (0, 48, 64)
    plain = configuration(tmp_path, "image_phase=null", "float_phase.epochs=2")
    assert (plain.first_clip("float"), plain.first_clip("qat")) == (0, 16)
    dense = configuration(tmp_path, DENSE)
    assert [dense.first_clip(name) for name in dense.phases] == [0, 8, 24, 32]
    taken: list[int] = []
    for name, phase in config.phases.items():
        sampler = NewClips(phase.clips_per_epoch, config.first_clip(name))
        for epoch in range(phase.epochs):
            sampler.set_epoch(epoch)
            taken.extend(sampler)
    assert taken == list(range(3 * 16 + 2 * 8 + 4))


def test_a_missing_start_is_named_before_anything_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"gone\.safetensors: no such file"):
        train(configuration(tmp_path, f"initial={tmp_path / 'gone.safetensors'}"), tmp_path / "run")
    assert not (tmp_path / "clips").exists() and not (tmp_path / "run").exists()


def test_the_image_phase_sees_as_many_frames_a_step(tmp_path: Path) -> None:
    config = configuration(tmp_path, "stream_chunks=3")
    images = config.on_images()
    assert (images.model.frames, images.batch_size, images.stream_chunks) == (1, 8, 1)
    assert images.model == model_config("tiny", frames=1, frame_size=(32, 32), levels=4, reset="soft")
    unlike = {"model", "batch_size", "stream_chunks"}
    assert images.model_dump(exclude=unlike) == config.model_dump(exclude=unlike)


def test_a_run_starts_from_a_quantised_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the float network behind it."""
    model = train(configuration(tmp_path, "image_phase=null"), tmp_path / "first")
    config = configuration(tmp_path, "image_phase=null", f"initial={model}")
    started = first_weights(monkeypatch)
    train(config, tmp_path / "second")
    for name, tensor in start_model(config).state_dict().items():
        assert torch.equal(started["float"][name], tensor), name
    quantised = load_model(model)[0].state_dict()
    assert torch.equal(started["float"]["backbone.0.conv.conv.weight"], quantised["backbone.0.conv.conv.weight"])


def test_a_run_starts_from_a_float_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(configuration(tmp_path, "image_phase=null"), tmp_path / "first")
    initial = tmp_path / "first" / "float.safetensors"
    changes = ("image_phase=null", "model.space_time=causal", "model.window=2", f"initial={initial}")
    started = first_weights(monkeypatch)
    train(configuration(tmp_path, *changes), tmp_path / "second")
    for name, tensor in load_model(initial)[0].state_dict().items():
        assert torch.equal(started["float"][name], tensor), name
    foreign = configuration(tmp_path, *changes, "model.mlp_ratio=3")
    with pytest.raises(BadFile, match=r"float\.safetensors: its layers are not those of images"):
        train(foreign, tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_a_backbone_gets_another_head(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    save_model(float_model(config.model, seed=5), tmp_path / "pose.safetensors", {})
    lent = load_model(tmp_path / "pose.safetensors")[0].backbone.state_dict()
    changes = (f"initial={tmp_path / 'pose.safetensors'}", "model.head={kind: segmentation, classes: 7}")
    model = start_model(configuration(tmp_path, *changes))
    assert model.backbone.state_dict().keys() == lent.keys()
    assert all(torch.equal(tensor, lent[name]) for name, tensor in model.backbone.state_dict().items())
    untrained = start_model(configuration(tmp_path, changes[1])).head.state_dict()
    assert all(torch.equal(tensor, untrained[name]) for name, tensor in model.head.state_dict().items())
    with pytest.raises(BadFile, match=r"pose\.safetensors: its layers are not those of images"):
        start_model(configuration(tmp_path, *changes, "model.mlp_ratio=3"))
