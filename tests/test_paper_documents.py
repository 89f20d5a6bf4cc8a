"""What docs/import.md, docs/energy.md and docs/scaling.md tell their reader to write works, on small data."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from svf_edge.cli import build_app
from svf_edge.data.formats.coco import write_coco
from svf_edge.export.bundle import write_bundle
from svf_edge.model.config import model_config
from svf_edge.program import save_program
from svf_edge.program.freeze import freeze
from svf_edge.shipped import CLIP
from svf_edge.training_config import TrainConfig
from tests.data.rendered import Clips, rendered
from tests.importing.authors import forward, random_state
from tests.models import quantised_model, random_clips

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("import", "energy", "scaling", "spacetime")


def text(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", text(page), re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def run(command: list[str], *more: str) -> str:
    assert command[0] == "svf-edge"
    result = CliRunner().invoke(build_app(), [*command[1:], *more], env={"COLUMNS": "200"})
    assert result.exit_code == 0, f"{' '.join(command)}: {result.output} {result.exception}"
    return result.output


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text(page)) if not link.startswith("plots/")]
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = random_state((16, 32, 48, 64), depths=(1, 1))
    clip = random_clips(model_config("tiny", frame_size=(64, 64), frames=4), 1, 3)[0]
    forward(state, clip, fitting=True)
    torch.save({"model": state}, "weights.pth")
    (tmp_path / "videos").mkdir()
    shutil.copy(CLIP, tmp_path / "videos" / "walk.mp4")
    take, calibrate, freezing, export, parity = commands("import")
    assert "--frame-size" in take and "224x224" in take
    run([word.replace("224x224", "64x64") for word in take], "--size", "custom")
    run(calibrate, "--count", "4")
    run(freezing)
    run(export)
    assert "equal" in run(parity)


def test_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = freeze(quantised_model(model_config("tiny")))
    save_program(program, "program.safetensors")
    clips = {"noise": random_clips(model_config("tiny"), 1, 3)[0].numpy()}
    write_bundle(program, tmp_path / "bundle", clips, targets=("onnx",))
    shutil.copy(CLIP, tmp_path / "walk.mp4")
    for command in commands("energy"):
        said = run(command)
        assert "operations (paper)" in said and "with memory" in said and "measured rails" in said
    assert (tmp_path / "energy.json").stat().st_size > 1000


def test_scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco(Clips([rendered()[index % 2] for index in range(6)]), tmp_path / "recordings")
    [entry] = re.findall(r"`data: (\{kind: shards[^`]*\})`", text("scaling"))
    config = {
        "name": "big",
        "model": {"size": "tiny", "frames": 4, "frame_size": [64, 64]},
        "data": yaml.safe_load(entry),
        "float_phase": {"epochs": 1, "clips_per_epoch": 4, "learning_rate": 0.001},
        "qat_phase": {"epochs": 1, "clips_per_epoch": 4, "learning_rate": 0.001},
        "batch_size": 4,
        "calibration_clips": 4,
        "workers": 0,
        "pictures": False,
    }
    (tmp_path / "big.yaml").write_text(yaml.safe_dump(config))
    shard, check, train = commands("scaling")
    assert "shards written" in run(shard, "--option", "val_share=0.5")
    run(check)
    run(train)
    assert (tmp_path / "runs" / "big" / "model.safetensors").is_file()

    [devices] = re.findall(r"^```yaml\n(.*?)^```$", text("scaling"), re.M | re.S)
    whole = {**config, **yaml.safe_load(devices), "validation_clips": 16, "batch_size": 16, "calibration_clips": 16}
    for phase in ("float_phase", "qat_phase"):
        whole[phase] = {**config[phase], "clips_per_epoch": 16}  # type: ignore[dict-item]
    assert TrainConfig.model_validate(whole).processes == 16
