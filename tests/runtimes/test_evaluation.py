"""Evaluation: the same joints wherever a model runs, the shipped real clips, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from svf_edge.data.events import EventCamera
from svf_edge.data.formats.kinetics import write_kinetics
from svf_edge.data.mocap import MOTION_NAMES
from svf_edge.data.skeleton import JOINT_NAMES
from svf_edge.data.source import SyntheticSource
from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import write_bundle
from svf_edge.model.config import model_config
from svf_edge.model_store import save_model
from svf_edge.program import save_program
from svf_edge.program.freeze import freeze
from svf_edge.runtimes.evaluation import EvalReport, evaluate_model
from svf_edge.runtimes.evaluation_command import evaluate
from svf_edge.runtimes.evaluation_data import load_evaluation
from svf_edge.runtimes.evaluation_model import open_subject
from svf_edge.runtimes.evaluation_plots import write_pictures
from svf_edge.shipped import REAL_LABELS
from svf_edge.tasks.registry import make_task
from tests.data.rendered import Clips, rendered
from tests.models import float_model, quantised_model, random_clips
from tests.programs import noise_clip, random_program
from tests.runtimes.bundles import needs_library

CONFIG = model_config("tiny", frame_size=(32, 32))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One quantised model as checkpoint, program and bundle, and a float one."""
    folder = tmp_path_factory.mktemp("models")
    model = quantised_model(CONFIG)
    program = freeze(model)
    save_model(model, folder / "quantised.safetensors", {})
    save_model(float_model(CONFIG), folder / "float.safetensors", {})
    save_program(program, folder / "program.safetensors")
    write_bundle(program, folder / "bundle", {"noise": noise_clip(program, 0)}, targets=("onnx",))
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("kind", "runtime", "where"),
    [
        ("quantised", None, "torch"),
        ("quantised", "reference", "reference"),
        ("quantised", "onnxruntime portable", "onnxruntime portable"),
        ("program", "onnxruntime", "onnxruntime packed"),
        ("bundle", "onnxruntime packed, no library", "onnxruntime packed, no library"),
        ("bundle", None, "onnxruntime packed"),
    ],
)
def test_the_same_joints_everywhere(models: dict[str, Path], kind: str, runtime: str | None, where: str) -> None:
    clips = random_clips(CONFIG, 3, seed=5)
    with open_subject(models["program"], "reference") as subject:
        expected = subject.predict(clips, lambda _: None)
    assert expected.values.flatten(0, 1).std(0).max() > 1  # the clips are told apart
    assert all(0 < rate < 1 for rate in expected.rates.values())
    done: list[int] = []
    with open_subject(models[kind], runtime) as subject:
        if where == "onnxruntime packed" and subject.runtime == "onnxruntime portable":
            pytest.skip("our ONNX Runtime library is not built")
        assert subject.runtime == where
        found = subject.predict(clips, done.append)
    assert torch.equal(found.values, expected.values)
    assert done[-1] == 3
    if found.rates:
        assert list(found.rates.values()) == pytest.approx(list(expected.rates.values()), abs=1e-6)
    assert bool(found.rates) == (where in ("torch", "reference"))


@needs_library("svf_ort")
def test_packed_twice_in_one_process(models: dict[str, Path]) -> None:
    """The library of the first bundle made for the time being serves the second."""
    for _ in range(2):
        with open_subject(models["program"], "onnxruntime packed") as subject:
            assert subject.predict(random_clips(CONFIG, 1, seed=5), lambda _: None).values.isfinite().all()


def test_report_of_the_real_clips(models: dict[str, Path], tmp_path: Path) -> None:
    result = evaluate_model(models["float"], "real", clips=12)
    report = result.report
    assert (report.kind, report.runtime, report.clips) == ("float checkpoint", "torch", 12)
    assert "pseudo-labels" in report.description
    assert EvalReport.model_validate_json(report.model_dump_json()) == report
    untrained, guess = report.scores.overall["pck@0.2"].value, report.baselines["mean pose"]["pck@0.2"].value
    assert untrained is not None and guess is not None and untrained < guess
    assert report.scores.overall["pck@0.2"].low is not None
    paths = write_pictures(result, tmp_path)
    assert len(paths) == 7 and all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_the_shipped_real_clips_are_what_they_say() -> None:
    labels = json.loads(REAL_LABELS.read_text(encoding="utf-8"))
    assert "not ground truth" in labels["info"]["description"] and "mediapipe 0.10.21" in labels["info"]["peer_version"]
    assert labels["categories"][0]["keypoints"] == list(JOINT_NAMES)
    files = {image["file_name"] for image in labels["images"]}
    assert files == {path.name for path in REAL_LABELS.parent.glob("*.mp4")}
    assert sum(path.stat().st_size for path in REAL_LABELS.parent.iterdir()) <= 1_200_000
    for licence in ("LICENSE.sports2d", "LICENSE.pose2sim"):
        assert "BSD 3-Clause" in (REAL_LABELS.parents[1] / licence).read_text(encoding="utf-8")
    found = load_evaluation("real", None, make_task(model_config("tiny")))
    assert len(set(found.groups)) == len(files) == 9
    visible = found.clips["visible"]
    assert visible.float().mean() > 0.85
    # Upright people: heads above hips, hips above ankles, in nearly every frame where both are seen.
    height = {name: found.clips["joints"][..., index, 1] for index, name in enumerate(JOINT_NAMES)}
    seen = visible[..., [0, 7, 11]].all(-1)
    upright = (height["head"] < height["left_hip"]) & (height["left_hip"] < height["left_ankle"])
    assert upright[seen].float().mean() > 0.95


def test_own_labels_as_file_and_as_folder(tmp_path: Path) -> None:
    labels = json.loads(REAL_LABELS.read_text(encoding="utf-8"))
    labels["images"] = [image for image in labels["images"] if image["file_name"] == "walk-on.mp4"]
    kept = {image["id"] for image in labels["images"]}
    labels["annotations"] = [entry for entry in labels["annotations"] if entry["image_id"] in kept]
    (tmp_path / "walk-on.mp4").write_bytes((REAL_LABELS.parent / "walk-on.mp4").read_bytes())
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(labels))
    for data in (str(path), str(tmp_path)):
        found = load_evaluation(data, None, make_task(CONFIG))
        assert found.name == "mine.json" and set(found.kinds) == {"walk-on"} and len(found.kinds) == 4
    labels["annotations"][3]["keypoints"][5] = 7
    path.write_text(json.dumps(labels))
    with pytest.raises(BadFile, match=r"mine\.json: annotations\.3 .*v is 7"):
        load_evaluation(str(path), None, make_task(CONFIG))
    for entry in labels["annotations"]:
        entry["keypoints"][2::3] = [1] * 13
    path.write_text(json.dumps(labels))
    with pytest.raises(BadFile, match="nothing that a pose head is measured on"):
        load_evaluation(str(path), None, make_task(CONFIG))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(BadFile, match=r"one JSON file .* \(mine\.json, other\.json\)"):
        load_evaluation(str(tmp_path), None, make_task(CONFIG))


def test_unknown_data_is_named() -> None:
    with pytest.raises(UnsupportedInput, match="--data rael: no such file; give synthetic, real"):
        load_evaluation("rael", None, make_task(CONFIG))


def test_refusals(models: dict[str, Path], tmp_path: Path) -> None:
    with (
        pytest.raises(UnsupportedInput, match="a float checkpoint runs in torch only"),
        open_subject(models["float"], "reference"),
    ):
        pass
    with pytest.raises(UnsupportedInput, match="torch runs checkpoints"), open_subject(models["program"], "torch"):
        pass
    with (
        pytest.raises(UnsupportedInput, match="'executorch portable' cannot run it"),
        open_subject(models["bundle"], "executorch portable"),
    ):
        pass
    with pytest.raises(BadFile, match="no such file"), open_subject(tmp_path / "none.safetensors"):
        pass
    save_program(random_program(3), tmp_path / "bare.safetensors")
    with pytest.raises(BadFile, match="does not record the model"), open_subject(tmp_path / "bare.safetensors"):
        pass
    events = model_config("tiny", frame_size=(32, 32), channels=2, input="events")
    save_model(float_model(events), tmp_path / "events.safetensors", {})
    with pytest.raises(UnsupportedInput, match="takes 2 channels of events and does not record a camera"):
        evaluate_model(tmp_path / "events.safetensors")


def test_command(models: dict[str, Path], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(evaluate)
    path = tmp_path / "result.json"
    arguments = [str(models["quantised"]), "--clips", "6", "--json", str(path), "-o", str(tmp_path / "pictures")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    report = EvalReport.model_validate_json(path.read_text())
    for shown in ("quantised.safetensors (quantised checkpoint) on torch", "mean pose", "left_ankle"):
        assert shown in done.output
    assert f"{report.scores.overall['pck@0.2'].value:.3f}" in done.output
    assert report.firing_rate is not None and f"{report.firing_rate:.3f}" in done.output
    assert "…" not in done.output  # nothing is cut off on a screen of 80 columns
    assert len(list((tmp_path / "pictures").glob("overlay-*.png"))) == 6


def test_a_model_of_events_sees_clips_through_its_camera(tmp_path: Path) -> None:
    head = {"kind": "classification", "classes": len(MOTION_NAMES)}
    config = model_config("tiny", frame_size=(32, 32), channels=2, input="events", head=head)
    camera = EventCamera(threshold=0.3)
    meta = {"training": {"data": {"events": camera.model_dump(mode="json")}}, "classes": list(MOTION_NAMES)}
    save_model(float_model(config), tmp_path / "events.safetensors", meta)
    result = evaluate_model(tmp_path / "events.safetensors", clips=5)
    expected = SyntheticSource(motions="classes", events=camera).open("val", 4, (32, 32), clips=5)
    assert torch.equal(result.data.clips["frames"][3], expected[3]["frames"])
    report = result.report
    assert (report.task, report.headline, list(report.baselines)) == (
        "classification",
        "top1",
        ["most frequent class", "chance"],
    )
    assert set(report.scores.per_part["top1"]) <= set(MOTION_NAMES) and set(report.scores.per_kind) <= set(MOTION_NAMES)


def test_any_data_set_by_kind_and_folder(tmp_path: Path) -> None:
    clips = Clips([{**rendered()[i % 2], "label": torch.tensor(i % 2)} for i in range(8)])
    folder = write_kinetics(clips, tmp_path / "motions", ("walk", "run"))
    config = model_config("tiny", frame_size=(32, 32), head={"kind": "classification", "classes": 2})
    save_model(float_model(config), tmp_path / "model.safetensors", {})
    result = evaluate_model(tmp_path / "model.safetensors", f"kinetics:{folder}")
    assert (result.report.clips, result.report.groups, result.report.baseline_clips) == (2, 2, 128)
    assert set(result.data.kinds) == {"run"} and result.predicted.shape == (2, 2)
    with pytest.raises(UnsupportedInput, match=r"--data vspw:.*: it has 124 classes, the head has 7"):
        load_evaluation(f"vspw:{folder}", None, make_task(model_config("tiny", head={"kind": "segmentation"})))
    with pytest.raises(UnsupportedInput, match="no label of kind 'joints', which a pose head learns from"):
        load_evaluation(f"kinetics:{folder}", None, make_task(CONFIG))
    with pytest.raises(UnsupportedInput, match="--data real: its clips have no label of kind 'class'"):
        load_evaluation("real", None, make_task(config))
