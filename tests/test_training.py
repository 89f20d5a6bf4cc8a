"""A short run of the real thing: it learns, survives SIGKILL, and its result freezes bit for bit."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from svf_edge.calib.batchnorm import reestimate
from svf_edge.checkpoint import Checkpoint
from svf_edge.data.sample import stack_samples
from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.model.config import model_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.model_store import load_model, save_model
from svf_edge.program.freeze import freeze
from svf_edge.program.interpret import run
from svf_edge.program.ranges import prove
from svf_edge.tasks.registry import make_task
from svf_edge.training import TaskTraining, dataset, start_model, train
from svf_edge.training_config import TrainConfig, load_train_config, recipe_path, recipe_summary, recipes
from tests.models import float_model, quantised_model, spikes_of

CONFIG = """
name: smoke
model: {size: tiny, frames: 2, frame_size: [48, 48]}
float_phase: {epochs: 4, clips_per_epoch: 160, learning_rate: 0.003}
qat_phase: {epochs: 1, clips_per_epoch: 64, learning_rate: 0.0005}
batch_size: 8
validation_clips: 16
calibration_clips: 32
workers: 0
"""

RUN = """
import sys
from svf_edge.training import train
from svf_edge.training_config import load_train_config
train(load_train_config(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "smoke.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def finished(config_path: Path) -> Path:
    """A run that was killed after its first epochs and then went on; the folder."""
    folder = config_path.parent / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(config_path), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    last = folder / "float" / "last.ckpt"
    deadline = time.monotonic() + 300
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert last.exists() and not (folder / "float.safetensors").exists()
    train(load_train_config(config_path), folder)
    return folder


def test_its_record_has_every_epoch_once(finished: Path) -> None:
    rows = json.loads((finished / "metrics.json").read_text())["epochs"]
    assert [(row["phase"], row["epoch"]) for row in rows] == [("float", n) for n in (1, 2, 3, 4)] + [("qat", 1)]
    assert rows[3]["step"] == 4 * 20 and rows[0]["loss"] > rows[3]["loss"]
    assert {path.name for path in finished.glob("*.png")} == {"curves.png", "rates.png", "examples.png"}
    with (finished / "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["val/pck@0.2"]) for row in table] == [row["val/pck@0.2"] for row in rows]


def test_the_loss_went_down(finished: Path, config_path: Path) -> None:
    """From the untrained model to the quantised result, on clips that neither has seen."""
    config = load_train_config(config_path)
    task = make_task(config.model, sigma=config.sigma)
    clips = stack_samples(Subset(dataset("train", 5000, config), range(4900, 5000)))

    def loss(model: SpikeVideoFormer) -> float:
        with torch.no_grad():
            return float(task.loss(model(clips["frames"]), clips))

    start = start_model(config)
    reestimate(start, [clips["frames"]])
    trained, _ = load_model(finished / "model.safetensors")
    assert loss(trained) < loss(start.eval()) - 0.05


def test_the_result_says_how_it_came_to_be(finished: Path, config_path: Path) -> None:
    model, meta = load_model(finished / "model.safetensors")
    assert TrainConfig.model_validate(meta["training"]) == load_train_config(config_path)
    assert meta["metrics"].keys() == meta["float"].keys() == meta["post_training_quantisation"].keys()
    assert meta["firing_rates"].keys() == model.lifs().keys()


def test_the_result_freezes_bit_for_bit(finished: Path) -> None:
    model, meta = load_model(finished / "model.safetensors")
    program = freeze(model, meta=meta)
    prove(program, "float32")
    clip = dataset("val", 1, TrainConfig.model_validate(meta["training"]))[0]["frames"].numpy()
    scores, spikes = spikes_of(model, clip)
    trace = run(program, clip)
    for name, expected in trace.spikes.items():
        np.testing.assert_array_equal(spikes[name], expected, err_msg=name)
    np.testing.assert_array_equal(scores.numpy() * 256, trace.outputs["pose"][:, :, 0, 0])
    assert 0.01 < np.mean([s.mean() for s in trace.spikes.values()]) < 0.5


def test_a_finished_run_is_not_repeated(finished: Path, config_path: Path) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    assert train(load_train_config(config_path), finished) == finished / "model.safetensors"
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_keeps_to_one_configuration(finished: Path, config_path: Path) -> None:
    other = load_train_config(config_path).model_copy(update={"seed": 1})
    with pytest.raises(UnsupportedInput, match="another configuration"):
        train(other, finished)
    train(other.model_copy(update={"seed": 0, "workers": 3}), finished)  # where it computes is another matter


def test_a_run_that_cannot_start_leaves_the_folder_free(config_path: Path, tmp_path: Path) -> None:
    config = load_train_config(config_path)
    tiny = config.model.model_copy(update={"frame_size": (4, 4)})
    with pytest.raises(UnsupportedInput, match="4x4"):
        train(config.model_copy(update={"model": tiny}), tmp_path / "run")
    with pytest.raises(UnsupportedInput, match=r"no layer is called 'backbone\.99\.\*'"):
        train(config.model_copy(update={"weight_bits": {"backbone.99.*": 4}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_stops_when_the_loss_is_not_finite(config_path: Path, tmp_path: Path) -> None:
    config = load_train_config(config_path)
    wild = config.float_phase.model_copy(update={"learning_rate": 1e38})
    with pytest.raises(SvfError, match=r"smoke: the loss is nan at step \d+ .*lower learning rate than 1e\+38"):
        train(config.model_copy(update={"float_phase": wild}), tmp_path)
    assert not (tmp_path / "float.safetensors").exists()


def test_an_interrupt_is_raised_and_the_phase_was_named(
    config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning answers Ctrl-C with a silent exit 1 and leaves SIGINT ignored."""

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TaskTraining, "on_train_epoch_end", press)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(load_train_config(config_path), tmp_path)
    assert signal.getsignal(signal.SIGINT) == before
    output = capsys.readouterr().out
    assert "1/3 float training, 4 epochs" in output and "loss" in output and "v_num" not in output


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "another model", "no optimizer"])
def test_a_damaged_resume_file_is_named(finished: Path, config_path: Path, tmp_path: Path, damage: str) -> None:
    good, last = finished / "float" / "last.ckpt", tmp_path / "float" / "last.ckpt"
    last.parent.mkdir()
    if damage == "truncated":
        last.write_bytes(good.read_bytes()[:-1000])
    elif damage == "another model":
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, last)
    elif damage == "no optimizer":
        state = torch.load(good, weights_only=True)
        torch.save({key: value for key, value in state.items() if key != "optimizer_states"}, last)
    else:
        last.write_text("" if damage == "empty" else "text")
    with pytest.raises(BadFile, match=f"{last}: damaged.*; delete it to start this phase again"):
        train(load_train_config(config_path), tmp_path)


@pytest.mark.parametrize("quantised", [False, True])
def test_models_survive_their_file(tmp_path: Path, quantised: bool) -> None:
    config = model_config("15M", frames=1, frame_size=(32, 32), transformer_blocks=(1, 0))
    model = (quantised_model if quantised else float_model)(config)
    save_model(model, tmp_path / "m.safetensors", {"note": 1})
    loaded, meta = load_model(tmp_path / "m.safetensors")
    assert meta == {"note": 1} and loaded.config == config
    clip = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    expected, spikes = spikes_of(model, clip)
    scores, again = spikes_of(loaded, clip)
    assert scores.equal(expected) and expected.std() > 0
    assert all(np.array_equal(spikes[name], again[name]) for name in spikes)


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    model = float_model(model_config("tiny"))
    model.head.maps = model.head.read
    save_model(model, tmp_path / "m.safetensors", {})
    with pytest.raises(BadFile, match=r"do not fit together.*head\.maps"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["backbone.0.conv.conv.weight", "backbone.5.attention.attention.lif.a"])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, name: str) -> None:
    model = quantised_model(model_config("tiny", frames=1, frame_size=(32, 32)))
    path = tmp_path / "m.safetensors"
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = torch.nan
    save_model(model, path, {})
    with pytest.raises(BadFile, match=rf"{path}: tensor '{name}'"):
        load_model(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"model": "tiny"}, "model configuration: Input should be a valid dictionary"),
        ({"exponents": None}, "do not fit together"),
        *(({"exponents": {"backbone.2.mixer.depthwise": bad}}, f"exponent {bad!r}") for bad in (10**6, 100, "7", True)),
    ],
)
def test_damaged_checkpoint_headers_are_named(tmp_path: Path, damage: dict[str, Any], words: str) -> None:
    path = tmp_path / "m.safetensors"
    save_model(quantised_model(model_config("tiny", frames=1, frame_size=(32, 32))), path, {})
    checkpoint = Checkpoint.load(path)
    Checkpoint({**checkpoint.config, **damage}, checkpoint.state).save(path)
    with pytest.raises(BadFile, match=rf"{path}: .*{words}"):
        load_model(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "not a readable YAML"),
        ("name: 2024-13-41", "not a readable YAML"),
        (CONFIG.replace("size: tiny", "size: 5"), "model: size: give the name of a size"),
        (CONFIG.replace("size: tiny", "size: [tiny]"), "model: size: give the name of a size"),
        (CONFIG.replace("size: tiny, ", ""), "model: size: give the name of a size"),
        (CONFIG.replace("size: tiny", "size: tiny, space_time: joined"), "model: space_time"),
        (CONFIG.replace("size: tiny", "size: tiny, 5: 5"), "model: 5: Extra inputs"),
        (CONFIG.replace("size: tiny", "size: tiny, channels: 1"), "the file: model: channels: 1 of pixels"),
        (CONFIG.replace("size: tiny", "size: tiny, input: events"), "the file: model: channels: 3 of events"),
        (CONFIG.replace("size: tiny", "size: tiny, head: {kind: pose, joints: 17}"), "model: head.joints: 17"),
        (CONFIG.replace("size: tiny", "size: tiny, head: {kind: pose3d, joints: 17}"), "model: head.joints: 17"),
        (
            CONFIG.replace("size: tiny", "size: tiny, head: {kind: segmentation, classes: 1}"),
            "model: .*head.seg.*classes",
        ),
        (CONFIG.replace("size: tiny", "size: tiny, norm_gain: .inf"), "model: norm_gain: .*finite"),
        (CONFIG.replace("0.003", ".inf"), "float_phase.learning_rate: .*finite"),
        (CONFIG + "seed: -1", "seed: "),
        (CONFIG + f"seed: {2**32 - 1}", "seed: "),
        (CONFIG.replace("epochs: 4", "epochs: 0"), r"float_phase.epochs"),
        (CONFIG.replace("size: tiny", "size: tniy"), "model: .*did you mean 'tiny'"),
        (CONFIG + "colour: red", "colour"),
        (CONFIG + "data: {kind: coc}", "data: "),
        (CONFIG + "data: {kind: coco, folder: x}", r"data.coco.annotations: "),
        (CONFIG + "val_data: {kind: dhp19, folder: x}", ".*the clips of val_data have 1 channels of events"),
        ("model: {size: tniy}", "model: .*did you mean 'tiny'"),
        ("3", "the file"),
    ],
)
def test_bad_training_configurations_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadFile, match=f"{path}: {words}"):
        load_train_config(path)


@pytest.mark.parametrize("name", recipes())
def test_recipes_load(name: str) -> None:
    assert load_train_config(recipe_path(name)).name == name and recipe_summary(recipe_path(name))
