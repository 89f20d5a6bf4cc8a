"""Loss terms, layers that start alive, the average of the weights, and a wrong teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from svf_edge.data.sample import Sample, stack_samples
from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.model.config import model_config
from svf_edge.model.network import SpikeVideoFormer, tracked_rates
from svf_edge.model_store import save_model
from svf_edge.tasks.registry import make_task
from svf_edge.tasks.simcc import bin_targets
from svf_edge.training import dataset
from svf_edge.training.module import moving_average
from svf_edge.training.start import HIGHEST, LOWEST, first_model, make_alive
from svf_edge.training.terms import DistillationTerm, RateTerm, Step, TaskTerm
from svf_edge.training_config import Distillation, load_train_config, recipe_path
from tests.models import float_model, quantised_model, random_clips

CONFIG = model_config("tiny", frames=2, frame_size=(32, 32))
TASK = make_task(CONFIG)


def step(rates: dict[str, float] | None = None, progress: float = 1.0, **tensors: Tensor) -> Step:
    clips: Sample = {
        "frames": tensors.get("frames", random_clips(CONFIG, 2, 0)),
        "joints": tensors.get("joints", torch.zeros(2, 2, 13, 2)),
        "visible": torch.ones(2, 2, 13, dtype=torch.bool),
        "joints3d": torch.zeros(2, 2, 13, 3),
        "label": torch.zeros(2, dtype=torch.int64),
        "mask": torch.zeros(2, 2, 32, 32, dtype=torch.uint8),
    }
    return Step(
        SpikeVideoFormer(CONFIG),
        clips,
        tensors.get("scores", torch.zeros(2, 2, 13 * 2 * 64)),
        {name: torch.tensor(rate) for name, rate in (rates or {}).items()},
        progress,
    )


@pytest.mark.parametrize(
    ("scope", "layers", "expected"),
    [
        ("layer", {}, (1.0 + 0 + 4.0) / 3),  # 0.2, 0.05 and 0.3 against 0.1
        ("network", {}, (0.55 / 3 / 0.1 - 1) ** 2),
        ("layer", {"b.*": 0.15}, (1.0 + 0 + 1.0) / 3),
        ("network", {"b.2": 0.15}, (2 * (0.125 / 0.1 - 1) ** 2 + 1.0) / 3),
        ("network", {"*": 0.1}, (1.0 + 0 + 4.0) / 3),
    ],
)
def test_rate_term(scope: str, layers: dict[str, float], expected: float) -> None:
    rates = {"a": 0.2, "b.1": 0.05, "b.2": 0.3}
    term = RateTerm(0.1, scope, layers, weight=0.5, warmup=0.2)
    assert float(term(step(rates))) == pytest.approx(0.5 * expected, rel=1e-4)
    assert float(term(step(rates, progress=0.05))) == pytest.approx(0.125 * expected, rel=1e-4)
    assert float(term(step(rates, progress=0.0))) == 0


def test_distillation_pulls_the_student_to_the_teacher(tmp_path: Path) -> None:
    teacher = quantised_model(CONFIG, seed=1)
    save_model(teacher, tmp_path / "teacher.safetensors", {})
    settings = Distillation(teacher=tmp_path / "teacher.safetensors", weight=0.5, temperature=3.0)
    term = DistillationTerm(settings, TASK)
    frames = random_clips(CONFIG, 2, 0)
    with torch.no_grad():
        taught = teacher(frames)
    assert taught.std() > 0.1
    assert float(term(step(frames=frames, scores=taught))) == pytest.approx(0, abs=1e-6)
    scores = torch.zeros_like(taught, requires_grad=True)
    value = term(step(frames=frames, scores=scores))
    # By hand: sum p (log p - log q) over bins, mean over the rest, times weight and temperature squared.
    p = (taught / 3).unflatten(-1, (26, 64)).softmax(-1)
    by_hand = (p * (p.log() + torch.tensor(64.0).log())).sum(-1).mean() * 0.5 * 9
    assert float(value.detach()) == pytest.approx(float(by_hand), rel=1e-4)
    value.backward()
    assert scores.grad is not None
    with torch.no_grad():
        closer = term(step(frames=frames, scores=scores - 1000 * scores.grad))
    assert closer < value.detach()


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (model_config("tiny", frames=2, frame_size=(48, 48)), r"frame_size \(48, 48\), the student \(32, 32\)"),
        (model_config("tiny", frames=2, frame_size=(32, 32), head={"kind": "pose", "bins": 32}), "head.bins 32"),
        (model_config("tiny", frames=2, frame_size=(32, 32), head={"kind": "classification"}), "head.kind classif"),
    ],
)
def test_a_teacher_of_another_kind_is_named(tmp_path: Path, teacher: object, words: str) -> None:
    path = tmp_path / "teacher.safetensors"
    save_model(float_model(teacher), path, {})  # type: ignore[arg-type]
    with pytest.raises(BadFile, match=f"{path}: .*{words}"):
        DistillationTerm(Distillation(teacher=path), TASK)


def test_unknown_joints_cost_nothing() -> None:
    joints = torch.full((2, 2, 13, 2), torch.nan)
    joints[..., 0, :] = 10.0
    term = TaskTerm(TASK)
    assert term.name == "pose"
    scores = torch.zeros(2, 2, 13 * 2 * 64, requires_grad=True)
    loss = term(step(joints=joints, scores=scores))
    assert float(loss.detach()) == pytest.approx(float(torch.tensor(64.0).log()), rel=1e-4)
    loss.backward()
    assert scores.grad is not None
    grad = scores.grad.unflatten(-1, (13, 2, 64))
    assert grad.isfinite().all() and grad[..., 1:, :, :].eq(0).all()
    target = bin_targets(joints[..., :1, :] * 64 / 32, 64, 1.5)
    torch.testing.assert_close(grad[..., :1, :, :], (1 / 64 - target) / (2 * 2 * 2))


def _rates(model: SpikeVideoFormer, clips: Tensor) -> dict[str, float]:
    with torch.no_grad(), tracked_rates(model.train()):
        model(clips)
        return {name: float(lif.rate) for name, lif in model.lifs().items() if lif.rate is not None}


@pytest.mark.parametrize("options", [{"norm_gain": 0.5}, {"norm_gain": 1.0, "levels": 4, "reset": "soft"}, {}])
@pytest.mark.parametrize("space_time", ["joint", "factorised"])
def test_every_layer_is_brought_to_life(options: dict[str, object], space_time: str) -> None:
    torch.manual_seed(0)
    model = SpikeVideoFormer(model_config("tiny", frames=2, frame_size=(48, 48), space_time=space_time, **options))
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    clips = random_clips(model.config, 4, 0)
    if options.get("norm_gain") == 0.5:
        assert min(_rates(model, clips).values()) == 0  # as it comes it is silent
        model.load_state_dict(statistics, strict=False)
    rates = make_alive(model, clips)
    assert all(statistics[name].equal(value) for name, value in model.named_buffers())
    assert rates == pytest.approx(_rates(model, clips), abs=1e-6)
    assert all(LOWEST <= rate <= HIGHEST for rate in rates.values())


def test_a_layer_that_cannot_fire_is_named() -> None:
    torch.manual_seed(0)
    model = SpikeVideoFormer(CONFIG)
    model.lifs()["backbone.2.lif2"].theta = 1e9
    with pytest.raises(SvfError, match=r"layer backbone.2.lif2 fires at a rate of 0.0000 before training"):
        make_alive(model, random_clips(CONFIG, 2, 0))


def test_clips_without_labels_are_named() -> None:
    config = load_train_config(recipe_path("pose-tiny"))
    clips = stack_samples(dataset("train", 2, config))
    first_model(config, clips)
    clips["joints"].fill_(-1000.0)
    with pytest.raises(
        UnsupportedInput, match=r"pose-tiny: nothing in the first 2 training clips is labelled .*'joints'"
    ):
        first_model(config, clips)


def test_the_average_follows_the_weights() -> None:
    conv, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    model = nn.Sequential(conv, norm)
    average = moving_average(model, 0.5)
    expected: float | None = None
    for number in range(6):
        with torch.no_grad():
            conv.weight.fill_(number)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.fill_(number)
        average.update_parameters(model)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = number if expected is None else decay * expected + (1 - decay) * number
    kept = average.module.state_dict()
    assert float(kept["0.weight"]) == pytest.approx(expected) and int(kept["1.num_batches_tracked"]) == 5
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
