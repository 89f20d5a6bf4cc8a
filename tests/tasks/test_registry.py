"""Every kind of head has a task, and what a task asks of data is checked before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from svf_edge.data.events import EventCamera
from svf_edge.data.sample import stack_samples
from svf_edge.data.source import SyntheticSource
from svf_edge.errors import UnsupportedInput
from svf_edge.model.config import AnyHead, model_config
from svf_edge.model.network import SpikeVideoFormer
from svf_edge.tasks.registry import TASKS, make_task
from svf_edge.training import train
from svf_edge.training.clips import class_names
from svf_edge.training_config import load_train_config, recipe_path

HEADS = ({"kind": "pose"}, {"kind": "pose3d"}, {"kind": "classification", "classes": 20}, {"kind": "segmentation"})


def test_there_is_a_task_for_every_head() -> None:
    assert set(TASKS) == {head.model_fields["kind"].default for head in get_args(AnyHead)}
    assert set(TASKS) == {head["kind"] for head in HEADS}


@pytest.mark.parametrize("head", HEADS, ids=lambda head: str(head["kind"]))
def test_a_task_fits_its_head_and_the_generator(head: dict[str, object]) -> None:
    """From pixels and from events: loss, gradient, reading, metrics of the model's own scores."""
    camera = EventCamera()
    for events in (None, camera):
        options = {"channels": 2, "input": "events"} if events else {}
        config = model_config("tiny", frames=3, frame_size=(32, 40), head=head, **options)
        task = make_task(config)
        source = SyntheticSource(motions="classes", events=events)
        clips = stack_samples(source.open("train", 3, (32, 40), clips=2))
        model = SpikeVideoFormer(config)
        model.head.start_from(task.frequency(clips))
        scores = model(clips["frames"])
        task.loss(scores, clips).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.head.parameters())
        predicted = task.read(scores.detach().numpy())
        metrics = task.metrics(predicted, clips)
        assert task.headline in metrics and 0 <= metrics[task.headline] <= 1
        assert task.distributions(scores).ndim >= 2
        for guess in task.baselines(clips, clips).values():
            assert guess.shape == predicted.shape and guess.dtype == predicted.dtype
        assert all(torch.tensor(list(values.values())).numel() for values in task.parts(predicted, clips).values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["data={kind: synthetic}"], "data: its clips have no label of kind 'class', which a classification head"),
        (["val_data={kind: synthetic}"], "val_data: its clips have no label of kind 'class'"),
        (["model.head.classes=12"], "data: it has 20 classes, the head has 12; set head.classes"),
        (["model.head={kind: segmentation, classes: 9}"], "data: it has 7 classes, the head has 9"),
    ],
)
def test_data_without_the_labels_is_refused_before_a_run_begins(tmp_path: Path, changes: list[str], words: str) -> None:
    config = load_train_config(recipe_path("action-small"), changes)
    with pytest.raises(UnsupportedInput, match=f"action-small: {words}"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_of_classes() -> None:
    assert class_names(load_train_config(recipe_path("action-small")))[:2] == ("backflip", "cartwheel")
    assert class_names(load_train_config(recipe_path("parts-small")))[0] == "background"
    assert class_names(load_train_config(recipe_path("pose-tiny"))) == ()
