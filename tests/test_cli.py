"""Bad input at the command line: one sentence with the file, the value and the fix; nothing is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from svf_edge import cli
from svf_edge.export.bundle import write_bundle
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.program import save_program
from svf_edge.shipped import CHECKPOINT
from tests.programs import loud_program, noise_clip, random_program


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of `svf-edge arguments`."""
    monkeypatch.setattr("sys.argv", ["svf-edge", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    code = stopped.value.code
    return (code if isinstance(code, int) else 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "truncated.safetensors").write_bytes(CHECKPOINT.read_bytes()[:5000])
    (folder / "foreign.safetensors").write_bytes(b"\x80\x04K\x01.")
    (folder / "unreadable.mp4").write_bytes(b"no video at all")
    (folder / "typo.yaml").write_text("model: {size: mobil-s}\n")
    (folder / "size.yaml").write_text("model: {size: tiny, frame_size: [0, 64]}\n")
    program = random_program(size=(16, 16))
    save_program(program, folder / "program.safetensors")
    save_program(loud_program(), folder / "loud.safetensors")
    write_bundle(program, folder / "bundle", {"noise": noise_clip(program)}, targets=["onnx"])
    shutil.copytree(folder / "bundle", folder / "newer")
    manifest = json.loads((folder / "newer" / MANIFEST).read_text())
    (folder / "newer" / MANIFEST).write_text(json.dumps({**manifest, "numeric": 9}))
    shutil.copytree(folder / "bundle", folder / "no-library")
    shutil.rmtree(folder / "no-library" / "lib")
    manifest["libraries"] = []
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if not name.startswith("lib/")}
    (folder / "no-library" / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["freeze", "truncated.safetensors", "-o", "NEW"], "truncated.safetensors: not a readable safetensors file"),
        (["freeze", "foreign.safetensors", "-o", "NEW"], "foreign.safetensors: not a readable safetensors file"),
        (["freeze", "absent.safetensors", "-o", "NEW"], "absent.safetensors: no such file"),
        (["freeze", "program.safetensors", "-o", "NEW"], "holds a program, a checkpoint is needed"),
        (["export", "loud.safetensors", "-o", "NEW"], "layer 'stem': accumulator with bias can reach"),
        (["export", "program.safetensors", "-o", "NEW", "--clip", "unreadable.mp4"], "is no readable video"),
        (["export", "program.safetensors", "-o", "NEW", "--to", "tflite"], "unknown target 'tflite'; choose from"),
        (["export", "program.safetensors", "-o", "typo.yaml"], "typo.yaml: exists and is not a bundle"),
        (["parity", "newer"], "manifest.json: numeric contract version is 9, this release reads 1"),
        (["parity", "bundle", "--clip", "unreadable.mp4"], "is no readable video"),
        (["parity", "bundle", "--runtime", "onnxruntime paked"], "did you mean 'onnxruntime packed'?"),
        (["report", "absent", "-o", "NEW"], "absent: not a bundle"),
        (["train", "typo.yaml", "-o", "NEW"], "did you mean 'mobile-s'?"),
        (["train", "size.yaml", "-o", "NEW"], "frame_size.0: Input should be greater than or equal to 1 (got 0)"),
        (["freeze", CHECKPOINT, "-o", "typo.yaml/below"], "typo.yaml"),
    ],
)
def test_bad_input_is_one_sentence(
    files: Path,
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    code, text = run(monkeypatch, capsys, *(tmp_path / "new" if word == "NEW" else word for word in arguments))
    assert code == 1
    assert sentence in text
    assert text.strip().startswith("error: ") and text.strip().count("\n") == 0, text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []
    assert sorted(files.rglob("*")) == before


def test_a_missing_operator_library_is_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["svf-edge", "parity", str(files / "no-library"), "-r", "onnxruntime packed"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).split())
    assert "svf_ort" in text and "Traceback" not in text


def test_the_traceback_is_there_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from svf_edge.errors import BadFile

    monkeypatch.setattr("sys.argv", ["svf-edge", "parity", "/nowhere", "--traceback"])
    with pytest.raises(BadFile, match="/nowhere: not a bundle"):
        cli.main()


@pytest.mark.parametrize("command", cli.ORDER)
def test_every_command_teaches_with_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["svf-edge", command, "--help"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"Example: svf-edge {command}" in " ".join(text.replace("│", " ").split())
