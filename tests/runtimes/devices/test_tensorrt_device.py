"""`svf-edge parity` and `bench --runtime tensorrt` on a device: a real sshd, with a stand-in for trtexec behind it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.runtimes.devices.address import parse_address
from svf_edge.runtimes.devices.errors import DeviceError
from svf_edge.runtimes.devices.examine import Task, examine
from svf_edge.runtimes.devices.store import FOLDER
from tests.programs import noise_clip, random_program
from tests.runtimes.bundles import needs_library
from tests.runtimes.devices.conftest import Target
from tests.runtimes.devices.daemons import Sshd
from tests.runtimes.devices.test_device_commands import Cli
from tests.runtimes.tensorrt.trtexec import place_fake_trtexec

RUNTIME = ("--runtime", "tensorrt")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    program = random_program(4, channels=16, heads=2)
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    return write_bundle(program, folder, {"noise": noise_clip(program, 1)}, targets=["tensorrt"])


@needs_library("svf_trt")
def test_parity_and_bench_over_ssh(sshd: Sshd, engines: Bundle, cli: Cli, tmp_path: Path) -> None:
    device, there = Target("ssh", sshd, sshd.config), tmp_path / "there"
    place_fake_trtexec(sshd.folder / ".local/bin")
    try:
        cli("parity", engines, [(device, there)], *RUNTIME)
        text = cli("bench", engines, [(device, there)], *RUNTIME, "--runs", "40", "--clean")
    finally:
        shutil.rmtree(sshd.folder / ".local")
    parity, bench = sorted(cli.stored(), key=lambda card: card.parity is None)
    assert parity and parity.parity is not None
    (runtime,) = parity.parity.runtimes
    assert (runtime.runtime, runtime.verdict) == ("tensorrt", "equal")
    assert [layer.layer for layer in runtime.clips[0].layers] == [tap.layer for tap in engines.manifest.taps]
    assert bench and bench.tensorrt is not None and bench.parity is None
    assert [mode.mode for mode in bench.tensorrt.modes][::3] == ["transfers", "no transfers, CUDA graph"]
    assert all(mode.distribution.count == 40 for mode in bench.tensorrt.modes)
    assert "TensorRT 10.3.0" in text and "no transfers, CUDA graph" in text and "outputs exact" in text
    assert not (there / FOLDER).exists(), "--clean"


def test_a_wrong_output_makes_the_card_false(
    engines: Bundle, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_fake_trtexec(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("SVF_FAKE_TRTEXEC", "flip logits")
    here = [(Target("local", None, None), tmp_path / "there")]
    code, text = cli.run("bench", engines, here, *RUNTIME, "--runs", "3")
    (card,) = cli.stored()
    assert code == 1 and not card and "outputs differ" in text


def test_a_device_without_trtexec(engines: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DeviceError, match=r"trtexec was not found \(looked in: PATH.*install TensorRT 10.3 or newer"):
        examine(parse_address(f"local://{tmp_path / 'there'}"), engines, Task("parity", ("tensorrt",)))


def test_what_makes_no_sense_is_refused_before_anything_runs(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedInput, match="tensorrt is examined alone on a device"):
        Task("bench", ("tensorrt", "onnxruntime packed"))
    with pytest.raises(BadFile, match="brings nothing for TensorRT; export it with"):
        examine(parse_address(f"local://{tmp_path}"), bundle, Task("parity", ("tensorrt",)))
    assert not list(tmp_path.iterdir())
