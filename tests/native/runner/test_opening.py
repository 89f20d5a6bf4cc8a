"""What svf-run makes of bundles that are damaged, hostile or of another release: refused by name, nothing touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from svf_edge.export.bundle import write_bundle
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.runtimes.runner_schema import ExitCode, RunnerCheck, RunnerInfo
from tests.native.runner.support import edit, refused, seal, svf_run
from tests.programs import noise_clip, random_program

GOLDEN = "golden/0.safetensors"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of golden vectors and libraries, without graphs."""
    program = random_program(3)
    folder = tmp_path_factory.mktemp("opening") / "bundle"
    return write_bundle(program, folder, {"golden": noise_clip(program, 7)}, targets=()).folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def test_info_says_what_it_is() -> None:
    info = RunnerInfo.model_validate_json(svf_run("info").stdout)
    assert info.reads == {"format": 1, "numeric": 1, "packing": 1}
    assert info.machine.platform == f"linux-{os.uname().machine}"
    assert info.machine.affinity == tuple(sorted(os.sched_getaffinity(0)))
    assert not info.machine.emulated


def test_check_accepts_a_bundle(folder: Path) -> None:
    found = RunnerCheck.model_validate_json(svf_run("check", folder).stdout)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert found.files == len(manifest["files"])
    assert found.bytes == sum(entry["size"] for entry in manifest["files"].values())
    assert (found.layers, found.golden) == (len(manifest["taps"]), ("golden",))
    assert "no packed graph" in str(found.runtimes["executorch packed"])


@pytest.mark.parametrize("extra", [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 127, 128])
def test_hashes_are_sha256_at_every_block_border(folder: Path, extra: int) -> None:
    text = (folder / MANIFEST).read_text().rstrip()
    (folder / MANIFEST).write_text(text + " " * ((-len(text)) % 64 + extra))
    found = RunnerCheck.model_validate_json(svf_run("check", folder).stdout)
    assert found.fingerprint == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def test_every_file_is_checked(folder: Path) -> None:
    for name in json.loads((folder / MANIFEST).read_text())["files"]:
        path = folder / name
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole + b"x", bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(damaged)
            assert f"{path}: differs from the manifest" in refused(folder, ExitCode.BAD_BUNDLE)
        path.unlink()
        assert f"{path}: is missing" in refused(folder, ExitCode.BAD_BUNDLE)
        path.write_bytes(whole)
    svf_run("check", folder)


@pytest.mark.parametrize("key", ["format", "numeric", "packing"])
def test_a_newer_bundle_is_called_so(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest.update({key: 7, "an entry of the future": {}}))
    assert f"made by a newer svf-edge ({key} version is 7, this svf-run reads 1)" in refused(
        folder, ExitCode.BAD_BUNDLE
    )


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../b", "..\\b", "", "a//b", "./a", "a\u0000b", "a\nb"]
)
@pytest.mark.parametrize("where", ["files", "golden", "libraries"])
def test_paths_that_leave_the_bundle_are_refused(folder: Path, path: str, where: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        if where == "files":
            manifest["files"][path] = {"sha256": "0" * 64, "size": 0}
        elif where == "golden":
            manifest["golden"][0]["path"] = path
        else:
            manifest["libraries"] = [{"name": "svf_core", "platform": "linux-x86_64", "path": path}]

    edit(folder, change)
    assert "leaves the bundle" in refused(folder, ExitCode.BAD_BUNDLE)


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (folder / GOLDEN).rename(outside)
    (folder / GOLDEN).symlink_to(outside)
    assert "is a link" in refused(folder, ExitCode.BAD_BUNDLE)
    (folder / GOLDEN).unlink()
    outside.rename(folder / GOLDEN)
    (folder / "golden").rename(tmp_path / "elsewhere")
    (folder / "golden").symlink_to(tmp_path / "elsewhere")
    assert "reached over one" in refused(folder, ExitCode.BAD_BUNDLE)


def test_a_pipe_in_a_files_place_is_refused(folder: Path) -> None:
    (folder / GOLDEN).unlink()
    os.mkfifo(folder / GOLDEN)
    assert "not a regular file" in refused(folder, ExitCode.BAD_BUNDLE)


def first(key: str, **entries: object) -> Change:
    return lambda manifest: manifest[key][0].update(entries)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop("taps"), "taps: is missing"),
        (lambda m: m.update(surprise=1), "surprise: is no entry that this svf-run knows"),
        (first("taps", shape=[2**30, 2, 1, 1]), "taps.0.shape: 4 sizes of at least 1 and at most 2^30 elements"),
        (first("taps", shape=[1, 0, 1, 1]), "taps.0.shape: 4 sizes of at least 1"),
        (first("taps", shape=[2**63, 2**63, 4, 1]), "taps.0.shape: 4 sizes of at least 1"),
        (first("taps", shape=[1, -1, 1, 1]), "taps.0.shape: 4 sizes of at least 1"),
        (first("taps", shape=[1, 1.5, 1, 1]), "taps.0.shape: 4 sizes of at least 1"),
        (first("taps", levels=10**18), "taps.0.levels: an integer in 1..65536 was expected"),
        (first("taps", shape=[2**26, 1, 1, 1], levels=60000), "taps.0.shape: is too large"),
        (first("golden", digests={}), "golden.0.digests: has none for layer"),
        (first("golden", digests={"nobody": "0" * 64}), "'nobody' is none of the taps"),
        (first("golden", path="program.safetensorz"), "'program.safetensorz' is not among the files"),
        (lambda m: m["files"][GOLDEN].update(size=-1), "size: an integer in 0..4294967296 was expected"),
        (lambda m: m["files"][GOLDEN].update(size=2**60), "size: an integer in 0..4294967296 was expected"),
        (lambda m: m["files"][GOLDEN].update(sha256="g" * 64), "a SHA-256 in hexadecimal was expected"),
        (lambda m: m["taps"].append(m["taps"][0]), "occurs twice"),
        (lambda m: m.update(form="stream"), "state: a stream has one and a clip has none"),
        (lambda m: m.update(state=[{"layer": "a", "shape": [1, 2], "window": 0}]), "state.0.shape: 3 sizes"),
        (lambda m: m.update(state=2 * [{"layer": "a", "shape": [1, 2, 3], "window": 0}]), "'a' occurs twice"),
        (lambda m: m.update(artefacts=[{"runtime": "abacus", "dialect": "packed", "path": GOLDEN}]), "'abacus' is not"),
    ],
)
def test_manifests_of_nonsense_are_named(folder: Path, change: Change, reason: str) -> None:
    edit(folder, change)
    found = refused(folder, ExitCode.BAD_BUNDLE)
    assert "manifest.json: not a valid manifest" in found
    assert reason in found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "an object was expected"),
        (b'{"format": 1, "format": 2}', "the key 'format' occurs twice"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"format": 1e400}', "not JSON"),
        (b'{"format": 1.0}', "format: an integer"),
        (b" " * (17 << 20), "too many for a manifest"),
    ],
)
def test_bytes_that_are_no_manifest_are_named(folder: Path, text: bytes, reason: str) -> None:
    (folder / MANIFEST).write_bytes(text)
    assert reason in refused(folder, ExitCode.BAD_BUNDLE)


def test_what_is_no_bundle_is_said(folder: Path, tmp_path: Path) -> None:
    assert "not a bundle folder" in refused(tmp_path / "nowhere", ExitCode.BAD_BUNDLE)
    (folder / MANIFEST).unlink()
    assert "not a bundle (no manifest.json)" in refused(folder, ExitCode.BAD_BUNDLE)


def header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "shorter than a header"),
        (struct.pack("<Q", 2**63) + b"{}", "the header does not fit"),
        (header(b"{}" + b" " * 2**20), "the header does not fit"),
        (header(b"[]"), "the header is no object"),
        (
            header(b'{"frames":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'),
            "larger than the file",
        ),
        (header(b'{"frames":{"dtype":"U8","shape":[4],"data_offsets":[0,8]}}', b"1234"), "outside the file"),
        (header(b'{"frames":{"dtype":"U8","shape":[4],"data_offsets":[3,2]}}', b"1234"), "outside the file"),
        (header(b'{"frames":{"dtype":"U8","shape":[2],"data_offsets":[0,4]}}', b"1234"), "do not fit the shape"),
        (header(b'{"frames":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}', b"1234"), "belong to no tensor"),
        (header(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"), "has no 'frames'"),
        (
            header(b'{"frames":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"1"),
            "not the U8 tensor that the manifest",
        ),
    ],
)
def test_golden_files_of_nonsense_are_named(folder: Path, content: bytes, reason: str) -> None:
    (folder / GOLDEN).write_bytes(content)
    seal(folder, GOLDEN)
    found = refused(folder, ExitCode.BAD_BUNDLE)
    assert GOLDEN in found
    assert reason in found


def test_outputs_that_the_manifest_does_not_know_are_refused(folder: Path) -> None:
    tensors = load_file(folder / GOLDEN)
    (folder / GOLDEN).write_bytes(save({**tensors, "output:second": np.zeros(3, np.int32)}))
    seal(folder, GOLDEN)
    assert "holds tensors that are no outputs" in refused(folder, ExitCode.BAD_BUNDLE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_manifests_never_crash_it(
    original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = bytearray((original / MANIFEST).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    folder = tmp_path_factory.mktemp("mutated")
    (folder / MANIFEST).write_bytes(text)
    assert svf_run("check", folder).returncode == ExitCode.BAD_BUNDLE


def test_nothing_is_written(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.parent.rglob("*"))}
    svf_run("check", folder)
    svf_run("parity", folder)
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.parent.rglob("*"))} == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "no command was given"),
        (["dance"], "'dance' is no command"),
        (["parity"], "no bundle folder was given"),
        (["parity", "b", "--threads"], "--threads needs a value"),
        (["parity", "b", "--threads", "0"], "--threads is '0', an integer of at least 1"),
        (["bench", "b", "--runs", "1e3"], "--runs is '1e3'"),
        (["bench", "b", "--seconds", "nan"], "--seconds is 'nan'"),
        (["bench", "b", "--spikes", "f"], "'--spikes' is no option of svf-run bench"),
        (["check", "a", "b"], "'b' is one argument too many"),
        (["parity", "b", "--runtime", "executorch"], "no runtime is called 'executorch'; known runtimes: 'onnx"),
    ],
)
def test_wrong_command_lines_are_explained(arguments: list[str], reason: str) -> None:
    done = svf_run(*arguments)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert reason in done.stderr


def test_help_shows_every_command_and_code() -> None:
    text = svf_run("--help").stdout
    for word in ("info", "check BUNDLE", "parity BUNDLE", "bench BUNDLE", "--runtime", "--threads", "5 the machine"):
        assert word in text


def test_a_full_disk_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([str(svf_run("info").args[0]), "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == ExitCode.MACHINE
    assert "could not be written" in done.stderr
