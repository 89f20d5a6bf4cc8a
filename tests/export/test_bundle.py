from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from svf_edge.errors import BadFile, ContractMismatch, RangeError, SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.export.fusion import ConvLif, fuse
from svf_edge.packing import digest, pack_spikes
from svf_edge.program import Program, run
from tests.programs import loud_program, noise_clip, program_of_many_levels, random_program


@pytest.fixture(scope="module")
def program() -> Program:
    return random_program(channels=24, heads=3).with_meta(task="test")


@pytest.fixture
def folder(program: Program, tmp_path: Path) -> Path:
    write_bundle(program, tmp_path / "bundle", {"noise": noise_clip(program)}, targets=["onnx"])
    return tmp_path / "bundle"


def edit_manifest(folder: Path, **entries: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_round_trip(program: Program, folder: Path) -> None:
    bundle = Bundle.open(folder)
    frames, outputs = bundle.golden("noise")
    trace = run(bundle.program(), frames)
    np.testing.assert_array_equal(outputs["logits"], trace.outputs["logits"])
    (golden,) = bundle.manifest.golden
    assert golden.digests == {layer: digest(pack_spikes(s)) for layer, s in trace.spikes.items()}
    assert bundle.manifest.model == {"task": "test"}
    assert bundle.artefact("onnxruntime", "packed").path == "onnx/packed.onnx"
    with pytest.raises(SvfError, match=r"holds no packed graph for executorch.*--to executorch"):
        bundle.artefact("executorch", "packed")
    with pytest.raises(SvfError, match="no golden vector 'x'; it has noise"):
        bundle.golden("x")


def test_every_file_is_checked(folder: Path) -> None:
    for name in Bundle.open(folder).manifest.files:
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(BadFile, match=path.name.replace(".", r"\.")):
            Bundle.open(folder)
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(BadFile, match="another hash"):
            Bundle.open(folder)
        path.unlink()
        with pytest.raises(BadFile, match="missing"):
            Bundle.open(folder)
        path.write_bytes(whole)
    Bundle.open(folder)


@pytest.mark.parametrize("key", ["format", "numeric", "packing"])
def test_versions_are_checked(folder: Path, key: str) -> None:
    edit_manifest(folder, **{key: 7})
    with pytest.raises(ContractMismatch, match=r"manifest\.json: .* version is 7, this release reads 1"):
        Bundle.open(folder)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b", "..\\b", ""])
def test_paths_that_leave_the_bundle_are_refused(folder: Path, path: str) -> None:
    edit_manifest(folder, files={path: {"sha256": "0", "size": 0}})
    with pytest.raises(BadFile, match="leaves the bundle"):
        Bundle.open(folder)


def test_links_that_leave_the_bundle_are_refused(folder: Path, tmp_path: Path) -> None:
    target = folder / "onnx" / "packed.onnx"
    outside = tmp_path / "outside"
    target.rename(outside)
    target.symlink_to(outside)
    with pytest.raises(BadFile, match="leads out of the bundle"):
        Bundle.open(folder)


def test_damaged_manifests_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(BadFile, match=r"manifest\.json: not a valid manifest"):
        Bundle.open(folder)
    with pytest.raises(BadFile, match="not a bundle"):
        Bundle.open(tmp_path)


def test_a_failed_export_leaves_the_old_bundle(program: Program, folder: Path) -> None:
    before = Bundle.open(folder).manifest
    loud = random_program(channels=24, heads=3, steps=4)
    with pytest.raises(UnsupportedInput):
        write_bundle(loud, folder, {"wrong": noise_clip(program)}, targets=["onnx"])
    assert Bundle.open(folder).manifest == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_kept(program: Program, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SvfError, match="exists and is not a bundle"):
        write_bundle(program, tmp_path, {}, targets=["onnx"])
    assert (tmp_path / "thesis.txt").exists()
    with pytest.raises(SvfError, match="unknown target 'tflite'"):
        write_bundle(program, tmp_path / "b", {}, targets=["tflite"])


def test_nothing_of_the_user_is_replaced(program: Program, folder: Path) -> None:
    """A manifest alone makes no bundle, and a file beside a bundle's own is not thrown away with it."""
    app = folder.parent / "app"
    app.mkdir()
    (app / MANIFEST).write_text('{"name": "my web app"}')
    (folder / "notes.txt").write_text("years of work")
    for target, reason in ((app, "exists and is not a bundle"), (folder, r"notes\.txt: is no part of the bundle")):
        with pytest.raises(SvfError, match=reason):
            write_bundle(program, target, {}, targets=["onnx"])
    assert (app / MANIFEST).exists() and (folder / "notes.txt").exists()


def test_the_current_folder_is_not_replaced(program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SvfError, match="current folder"):
        write_bundle(program, ".", {}, targets=["onnx"])
    assert Bundle.open(folder)


def test_an_interrupt_while_replacing_brings_the_old_bundle_back(
    program: Program, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Bundle.open(folder).manifest
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "bundle" and self.parent.name.startswith(".bundle."):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(program, folder, {}, targets=["onnx"])
    assert Bundle.open(folder).manifest == before
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_clips_with_similar_names_stay_apart(program: Program, tmp_path: Path) -> None:
    clips = {"a.b": noise_clip(program, 1), "a-b": noise_clip(program, 2)}
    bundle = write_bundle(program, tmp_path / "b", clips, targets=["onnx"])
    for name, clip in clips.items():
        np.testing.assert_array_equal(bundle.golden(name)[0], clip)


@pytest.mark.parametrize(
    ("program", "dialects"),
    [
        (random_program(channels=24, heads=3, levels=3), ["packed", "portable"]),
        (program_of_many_levels(), ["portable"]),
    ],
    ids=["3 levels", "more than packed operators take"],
)
def test_integer_lifs(program: Program, dialects: list[str], tmp_path: Path) -> None:
    bundle = write_bundle(program, tmp_path / "b", {"noise": noise_clip(program)}, targets=["onnx"])
    assert [artefact.dialect for artefact in bundle.manifest.artefacts] == dialects
    assert [tap.levels for tap in bundle.manifest.taps] == [lif.levels for lif in program.lifs]


def test_a_failed_proof_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RangeError, match="layer 'stem'"):
        write_bundle(loud_program(), tmp_path / "b", {}, targets=["onnx"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("typical", [False, True])
def test_typical_clips_choose_how_convolutions_are_computed(program: Program, tmp_path: Path, typical: bool) -> None:
    clips = {"grey": np.full(program.frames.shape, program.frames.zero_point, np.uint8)}
    bundle = write_bundle(program, tmp_path / "b", clips, targets=["onnx"], typical=typical)
    rates = {layer: float(spikes.mean()) for layer, spikes in run(program, clips["grey"]).spikes.items()}
    graph = onnx.load(bundle.path("onnx/packed.onnx")).graph
    found = {
        node.output[0]: helper.get_attribute_value(attribute).decode()
        for node in graph.node
        for attribute in node.attribute
        if attribute.name == "density"
    }
    steps = [step for step in fuse(program, rates if typical else {}) if isinstance(step, ConvLif)]
    assert found == {step.lif.name: step.density for step in steps if step.lif.name in found}
    assert len(found) > 5 and (len(set(found.values())) > 1) == typical
