"""Evaluation of models: on their own device, and with their mode restored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from svf_edge.data.sample import Sample, stack_samples
from svf_edge.data.synthetic import SyntheticPoseDataset
from svf_edge.model.config import model_config
from svf_edge.tasks.evaluation import evaluate
from tests.models import float_model


class _Arrived(Exception):
    """Ends a forward pass once its input has been seen."""


@pytest.fixture(scope="module")
def clips() -> Sample:
    return stack_samples(SyntheticPoseDataset("val", 3))


def test_clips_go_to_the_device_of_the_model(clips: Sample) -> None:
    model = float_model(model_config("tiny")).to("meta")
    devices: list[str] = []

    def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        devices.append(inputs[0].device.type)
        raise _Arrived

    model.register_forward_pre_hook(look)
    with pytest.raises(_Arrived):
        evaluate(model, clips)
    assert devices == ["meta"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_evaluates_too(clips: Sample) -> None:
    model = float_model(model_config("tiny"))
    expected = evaluate(model, clips)
    measured = evaluate(model.cuda(), clips)
    assert measured.metrics["firing_rate"] == pytest.approx(expected.metrics["firing_rate"], abs=0.01)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_restored(clips: Sample, training: bool) -> None:
    model = float_model(model_config("tiny")).train(training)
    result = evaluate(model, clips, batch_size=2)
    assert model.training is training
    assert result.metrics["firing_rate"] > 0 and result.rates.keys() == model.lifs().keys()
