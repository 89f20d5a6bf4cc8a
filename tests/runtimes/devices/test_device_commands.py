"""`svf-edge parity`, `bench` and `devices` through a real sshd and a real adbd, with the real svf-run."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from svf_edge.errors import BadFile, ContractMismatch, MissingLibrary, UnsupportedInput
from svf_edge.export.bundle import Bundle, host_platform
from svf_edge.export.bundle.manifest import MANIFEST
from svf_edge.export.libraries import find_native
from svf_edge.runtimes import commands
from svf_edge.runtimes.devices.card import DeviceCard, retention
from svf_edge.runtimes.devices.commands import devices
from svf_edge.runtimes.devices.examine import Task
from svf_edge.runtimes.devices.runner import program_for
from svf_edge.runtimes.devices.store import FOLDER
from svf_edge.runtimes.devices.tables import card_tables
from tests.runtimes.bundles import edit_initializer, forge, needs_library, rewrite, shipped_packed
from tests.runtimes.devices.conftest import Target
from tests.runtimes.devices.daemons import Adbd, Sshd


def needs_runner() -> pytest.MarkDecorator:
    try:
        find_native("svf-run")
    except MissingLibrary as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


class Cli:
    """The commands, with their cards in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.app = typer.Typer()
        for command in (commands.parity, commands.bench, devices):
            self.app.command()(command)
        self.cards = folder / "cards"

    def __call__(self, command: str, bundle: Bundle, targets: list[tuple[Target, Path]], *options: str) -> str:
        """What a successful command prints."""
        code, text = self.run(command, bundle, targets, *options)
        assert code == 0, text
        return text

    def run(self, command: str, bundle: Bundle, targets: list[tuple[Target, Path]], *options: str) -> tuple[int, str]:
        """Exit code, and all it prints in one line."""
        arguments = [command, str(bundle.folder), "--cards", str(self.cards), *options]
        for target, folder in targets:
            arguments += ["--device", target.url(folder)]
            if target.config is not None:
                arguments += ["--ssh-config", str(target.config)]
        done = CliRunner().invoke(self.app, arguments)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, " ".join(done.output.split())

    def stored(self) -> list[DeviceCard]:
        return [DeviceCard.model_validate_json(path.read_bytes()) for path in sorted(self.cards.rglob("*.json"))]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@needs_runner()
@needs_library("svf_ort")
def test_parity_and_bench_on_a_device(target: Target, bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    there = tmp_path / "there"
    runtime = ("--runtime", "onnxruntime packed", "--runtime", "onnxruntime portable")
    text = cli("parity", bundle, [(target, there)], *runtime)
    (card,) = cli.stored()
    assert card and card.parity is not None and not card.emulated and card.device == target.url(there)
    for entry in card.parity.runtimes:
        assert entry.verdict == "equal"
        layers = [layer for clip in entry.clips for layer in clip.layers]
        assert len(layers) == len(bundle.manifest.taps) and all(layer.equal and layer.fired > 0 for layer in layers)
        assert all(output.differing == 0 and output.compared for clip in entry.clips for output in clip.outputs)
    assert card.identity.kernel == os.uname().release and card.before.when <= card.after.when
    assert f"{len(bundle.manifest.taps)} of {len(bundle.manifest.taps)}" in text and card.identity.kernel in text
    assert (there / FOLDER).is_dir()

    stored = tmp_path / "bench.json"
    options = ("--runtime", "onnxruntime packed", "--runs", "5", "--per-layer", "--clean", "--json", str(stored))
    text = cli("bench", bundle, [(target, there)], *options)
    (found,) = json.loads(stored.read_text())
    measured = DeviceCard.model_validate(found)
    (variant,) = measured.variants
    assert measured and variant.measurement is not None and variant.measurement.timing is not None
    assert sum(map(len, variant.measurement.timing.rounds)) == 5 and "only 5 runs" in text
    (layers,) = measured.layers
    assert layers.runtime == "onnxruntime packed" and layers.total > 0
    for layer in layers.layers:
        assert f"{layer.layer} {layer.computes}" in text and f"{layer.milliseconds:.3f}" in text
    assert len(cli.stored()) == 2
    assert not (there / FOLDER).exists(), "--clean"


@needs_runner()
def test_an_emulated_run_shows_no_times(bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    here = [(Target("local", None, None), tmp_path / "there")]
    cli("bench", bundle, here, "--runtime", "onnxruntime portable", "--runs", "5")
    (card,) = cli.stored()
    (bench,) = card.benches
    (variant,) = bench.variants
    assert variant.measurement is not None
    untimed = variant.measurement.model_copy(update={"timing": None})
    benches = (bench.model_copy(update={"variants": (variant.model_copy(update={"measurement": untimed}),)}),)
    for shown, times in ((card, True), (card.model_copy(update={"emulated": True, "benches": benches}), False)):
        console = Console(width=100, record=True, file=io.StringIO())
        console.print(card_tables(shown))
        (row,) = [line for line in console.export_text().splitlines() if line.startswith(" onnxruntime portable")]
        assert ("emulated" not in row) == times
        assert (row.count(" - ") == 0) == times


@needs_runner()
def test_several_devices_at_the_same_time(
    sshd: Sshd, adbd: Adbd, bundle: Bundle, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", adbd.environment["ADB_SERVER_SOCKET"])
    targets = [Target("local", None, None), Target("ssh", sshd, sshd.config), Target("adb", adbd, None)]
    where = [(target, tmp_path / target.kind) for target in targets]
    runtime = ("--runtime", "onnxruntime portable")
    cli("parity", bundle, where, *runtime)
    cards = cli.stored()
    assert sorted(card.device for card in cards) == sorted(target.url(folder) for target, folder in where)
    assert all(cards)

    # One that fails does not keep the others from being examined.
    adbd.kill()
    code, text = cli.run("parity", bundle, where, *runtime)
    adbd.start()
    assert code == 1 and "attached" in text  # to adb it is gone, or still there and silent
    assert len(cli.stored()) == len(cards) + 2


@needs_runner()
def test_a_differing_spike_is_told_with_its_address(target: Target, bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    def raise_threshold(theta: np.ndarray) -> None:
        theta.reshape(-1)[7] = 2**20

    edit = edit_initializer("mlp.lif1:theta", raise_threshold)
    forged = forge(bundle, tmp_path / "b", "onnx/portable.tap.onnx", edit)
    options = ("--runtime", "onnxruntime portable")
    code, text = cli.run("parity", forged, [(target, tmp_path / "there")], *options)
    (card,) = cli.stored()
    assert code == 1 and not card and card.parity is not None and not card.parity.equal
    (difference,) = card.differences
    assert (difference.runtime, difference.clip) == ("onnxruntime portable", "golden")
    first = difference.first
    assert (first.layer, first.channel, first.expected, first.found) == ("mlp.lif1", 7, 1, 0) and first.margin >= 0
    assert f"first at {first}" in text


@needs_runner()
def test_bundles_that_do_not_fit_touch_no_device(target: Target, bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    there = [(target, tmp_path / "there")]

    def variant(name: str, **changes: object) -> Bundle:
        made = forge(bundle, tmp_path / name, "onnx/portable.onnx", lambda path: None)
        manifest = made.manifest.model_copy(update=changes)
        (made.folder / MANIFEST).write_text(manifest.model_dump_json())
        return made

    elsewhere = [entry.model_copy(update={"platform": "linux-riscv64"}) for entry in bundle.manifest.libraries]
    code, text = cli.run("parity", variant("foreign", libraries=elsewhere), there)
    assert code == 1 and "holds svf-run for linux-riscv64, and" in text and "--native kits/linux-" in text
    code, text = cli.run("parity", variant("bare", libraries=[]), there)
    assert code == 1 and "holds svf-run for no platform" in text
    with pytest.raises(ContractMismatch, match="numeric contract version is 9"):
        cli.run("parity", variant("newer", numeric=9), there)
    damaged = variant("damaged")
    (damaged.folder / "onnx/packed.onnx").write_bytes(b"damaged")
    with pytest.raises(BadFile, match=r"packed\.onnx: differs from the manifest"):
        cli.run("parity", damaged, there)
    assert not (tmp_path / "there").exists() and not cli.cards.exists()


@needs_runner()
def test_a_wrong_host_key_is_told_and_nothing_is_sent(sshd: Sshd, bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    there = tmp_path / "there"
    wrong = Target("ssh", sshd, sshd.write_config("wrong", "other.pub", "user"))
    code, text = cli.run("parity", bundle, [(wrong, there)])
    assert code == 1 and text.count("error:") == 1 and "the host key is not the one known for this host" in text
    assert not there.exists() and not cli.cards.exists()


@needs_runner()
def test_a_full_disk_is_told_and_nothing_is_installed(
    target: Target, bundle: Bundle, cli: Cli, small_disk: Path
) -> None:
    code, text = cli.run("parity", bundle, [(target, small_disk)])
    assert code == 1 and text.count("error:") == 1 and "MB free, the bundle needs" in text
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [] and not cli.cards.exists()


@needs_runner()
@needs_library("svf_ort")
def test_a_missing_operator_library_is_told(target: Target, bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    made = forge(bundle, tmp_path / "b", "onnx/portable.onnx", lambda path: None)
    kept = [entry for entry in made.manifest.libraries if entry.name != "svf_ort"]
    made = rewrite(made.folder, made.manifest.model_copy(update={"libraries": kept}))
    code, text = cli.run("parity", made, [(target, tmp_path / "there")], "--runtime", "onnxruntime packed")
    assert code == 1 and "svf_ort" in text
    assert not any(cli.stored()), "no card says that anything is equal"


def runners(folder: Path) -> list[int]:
    """Processes of the svf-run below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


@needs_runner()
def test_a_device_that_vanishes_in_a_run_leaves_no_card(
    remote: Target, bundle: Bundle, cli: Cli, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    daemon = remote.daemon
    assert daemon is not None

    def kill() -> None:
        while not runners(there):
            time.sleep(0.01)
        daemon.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    options = ("--runtime", "onnxruntime portable", "--runs", "1000000", "--seconds", "40")
    code, text = cli.run("bench", bundle, [(remote, there)], *options)
    thread.join()
    assert code == 1 and "while measuring" in text and "run again" in text
    assert not cli.cards.exists(), "no half results"
    assert list((there / FOLDER / "bundles").iterdir()), "what was pushed is whole and stays for the next run"


@needs_runner()
@pytest.mark.slow
def test_the_shipped_model_is_equal_through_ssh_and_adb(
    sshd: Sshd,
    adbd: Adbd,
    cli: Cli,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the shipped clip; its portable programs run here in the demo, and take long to export."""
    monkeypatch.setenv("ADB_SERVER_SOCKET", adbd.environment["ADB_SERVER_SOCKET"])
    shipped = shipped_packed(tmp_path_factory)
    where = [(Target("ssh", sshd, sshd.config), tmp_path / "s"), (Target("adb", adbd, None), tmp_path / "a")]
    names = ["onnxruntime packed", "onnxruntime packed, no library", "executorch packed"]
    cli("parity", shipped, where, *(part for name in names for part in ("--runtime", name)))
    cards = cli.stored()
    assert sorted(card.device for card in cards) == sorted(target.url(folder) for target, folder in where)
    for card in cards:
        assert card and card.parity is not None
        assert [(entry.runtime, entry.verdict) for entry in card.parity.runtimes] == [(name, "equal") for name in names]
        for clip in (clip for entry in card.parity.runtimes for clip in entry.clips):
            assert len(clip.layers) == len(shipped.manifest.taps)
            assert all(layer.equal and 0 < layer.fired < layer.size for layer in clip.layers)
            assert all(output.differing == 0 and output.compared for output in clip.outputs)


def test_devices_describes(target: Target, cli: Cli, tmp_path: Path) -> None:
    stored = tmp_path / "devices.json"
    options = ["--ssh-config", str(target.config)] if target.config else []
    done = CliRunner().invoke(cli.app, ["devices", target.url(tmp_path / "x"), *options, "--json", str(stored)])
    assert done.exit_code == 0, done.output
    assert f"kernel {os.uname().release}, linux-{os.uname().machine}" in done.output
    first = json.loads(stored.read_text())[0]
    assert first["device"] == target.url(tmp_path / "x") and first["identity"]["kernel"] == os.uname().release
    done = CliRunner().invoke(cli.app, ["devices", "ssh://127.0.0.1:1"])
    assert done.exit_code == 1 and "cannot be reached" in " ".join(done.output.split())


def test_options_that_a_device_cannot_heed(bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    here = [(Target("local", None, None), tmp_path / "x")]
    with pytest.raises(UnsupportedInput, match="--clip does not go with --device"):
        cli.run("parity", bundle, here, "--clip", "noise")
    with pytest.raises(UnsupportedInput, match="given twice"):
        cli.run("parity", bundle, here * 2)
    for options in (["--sustained", "60"], ["--per-layer"]):
        with pytest.raises(UnsupportedInput, match=f"{options[0]} needs --device; write --device local"):
            cli.run("bench", bundle, [], *options)
    with pytest.raises(UnsupportedInput, match="at least 60 s"):
        Task("bench", ("executorch packed",), sustained=59)
    with pytest.raises(UnsupportedInput, match="add --runtime"):
        Task("bench", sustained=60)


@needs_runner()
def test_a_sustained_run_fills_both_windows(bundle: Bundle, cli: Cli, tmp_path: Path) -> None:
    """On a device where a minute of its clock holds less than a minute of runs."""
    paced = Path(__file__).parent / "paced_runner.py"
    script = f'#!/bin/sh\nexec {sys.executable} {paced} {find_native("svf-run")} "$@"\n'
    program = program_for(bundle, host_platform(), "this machine")
    made = forge(bundle, tmp_path / "b", program, lambda path: path.write_text(script))
    here = [(Target("local", None, None), tmp_path / "there")]
    text = cli("bench", made, here, "--runtime", "onnxruntime portable", "--sustained", "60")
    (card,) = cli.stored()
    (found,) = card.retention
    assert (found.runtime, found.first, found.last) == (
        "onnxruntime portable",
        pytest.approx(500, abs=0.1),
        pytest.approx(500, abs=0.1),
    )
    assert "500.0 runs a second in the last 30 s, 500.0 in the first: 100% kept" in text


def test_retention_compares_the_ends_of_a_run() -> None:
    steady = retention("x", [10.0] * 7000)
    assert (
        steady is not None and steady.kept == pytest.approx(1, abs=1e-3) and steady.first == pytest.approx(100, abs=0.1)
    )
    slowing = retention("x", [10.0] * 3000 + [15.0] * 1000 + [20.0] * 1500)
    assert slowing is not None and slowing.kept == pytest.approx(0.5, abs=1e-3)
    assert retention("x", [10.0] * 5999) is None, "shorter than two windows"
    assert retention("x", [40_000.0, 40_000.0]) is None, "no run ended in the first window"
