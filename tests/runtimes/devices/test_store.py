"""Bundles on devices: whole or absent, only what is missing is sent, nothing is left half-made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from svf_edge.errors import BadFile
from svf_edge.export.bundle import Bundle
from svf_edge.export.bundle.manifest import MANIFEST, FileEntry
from svf_edge.files import sha256
from svf_edge.runtimes.devices import store as store_module
from svf_edge.runtimes.devices.errors import DeviceError, DeviceFull, DeviceLost
from svf_edge.runtimes.devices.store import FOLDER, Store
from tests.runtimes.bundles import forge, rewrite
from tests.runtimes.devices.conftest import Target
from tests.runtimes.devices.daemons import Adbd, Sshd

BIG = "golden/big.bin"


@pytest.fixture(scope="module")
def heavy(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with one more file, large enough to be caught on its way."""
    folder = tmp_path_factory.mktemp("heavy") / "bundle"
    forge(bundle, folder, "onnx/portable.onnx", lambda path: None)
    with (folder / BIG).open("wb") as file:
        file.truncate(96 << 20)
    entry = FileEntry(sha256=sha256(folder / BIG), size=96 << 20)
    return rewrite(folder, bundle.manifest.model_copy(update={"files": {**bundle.manifest.files, BIG: entry}}))


def held(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_missing_is_sent(target: Target, bundle: Bundle, tmp_path: Path) -> None:
    there = tmp_path / "it's there"
    with target.transport() as device:
        store = Store(device, str(there))
        first = store.install(bundle)
        assert held(Path(first.folder)) == held(bundle.folder)
        assert first.bytes_sent == sum(path.stat().st_size for path in bundle.folder.rglob("*") if path.is_file())
        for library in bundle.manifest.libraries:
            assert os.access(f"{first.folder}/{library.path}", os.X_OK)
        again = store.install(bundle)
        assert (again.folder, again.files_sent, again.bytes_sent) == (first.folder, 0, 0)

        other = forge(bundle, tmp_path / "other", "onnx/portable.onnx", lambda path: path.write_bytes(b"another"))
        second = store.install(other)
        manifest = (other.folder / MANIFEST).stat().st_size
        assert (second.files_sent, second.bytes_sent) == (2, manifest + len(b"another"))
        assert held(Path(second.folder)) == held(other.folder)
        assert sorted(
            path.name for path in (there / FOLDER).rglob("*") if path.is_dir() and path.parent.name == "bundles"
        ) == [Path(second.folder).name]
        store.remove()
    assert list(there.iterdir()) == []


def test_a_file_damaged_on_the_device_is_replaced(target: Target, bundle: Bundle, tmp_path: Path) -> None:
    with target.transport() as device:
        store = Store(device, str(tmp_path / "there"))
        place = Path(store.install(bundle).folder)
        (place / "onnx/packed.onnx").write_bytes(b"damaged")
        (place / "stranger").write_text("no part of the bundle")
        healed = store.install(bundle)
        assert healed.files_sent == 1 and held(place) == held(bundle.folder)


def killer(target: Target, there: Path, then: Callable[[], None] = lambda: None) -> threading.Thread:
    """Kills the daemon once part of a large file has arrived."""

    def kill() -> None:
        while not any(part.stat().st_size > 1 << 20 for part in there.rglob("*.part") if part.is_file()):
            time.sleep(0.001)
        assert target.daemon is not None
        target.daemon.kill()
        then()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_push_goes_on_after_the_daemon_was_killed(
    remote: Target, heavy: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BACK_OFF", (0.5,) * 60)  # however long a busy machine takes to start it
    there = tmp_path / "there"
    assert isinstance(remote.daemon, (Sshd, Adbd))
    with remote.transport() as device:
        thread = killer(remote, there, remote.daemon.start)
        done = Store(device, str(there)).install(heavy)
        thread.join()
    assert held(Path(done.folder)) == held(heavy.folder)
    assert not (there / FOLDER / "incoming").exists()


def test_a_device_that_vanishes_in_a_push_is_told_and_keeps_no_half_bundle(
    remote: Target, heavy: Bundle, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "BACK_OFF", (0.05, 0.05))
    there = tmp_path / "there"
    assert isinstance(remote.daemon, (Sshd, Adbd))
    with remote.transport() as device:
        store = Store(device, str(there))
        before = store.install(bundle)
        thread = killer(remote, there)
        with pytest.raises(DeviceLost, match=r"while sending big\.bin") as caught:
            store.install(heavy)
        thread.join()
        assert str(caught.value).count("\n") == 0
        assert held(Path(before.folder)) == held(bundle.folder), "the bundle that was there is unharmed"
        assert [path.name for path in (there / FOLDER / "bundles").iterdir()] == [Path(before.folder).name]
        for path in (there / FOLDER / "incoming").iterdir():
            assert path.suffix == ".part" or sha256(path) == path.name
        remote.daemon.start()
        device.open()
        done = store.install(heavy)
        assert held(Path(done.folder)) == held(heavy.folder) and not (there / FOLDER / "incoming").exists()


def test_a_full_disk_is_told_before_and_while_sending(
    target: Target, heavy: Bundle, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target.transport() as device:
        store = Store(device, str(small_disk))
        with pytest.raises(DeviceFull, match=r"MB free, the bundle needs .* more; free some"):
            store.install(heavy)
        monkeypatch.setattr(store_module, "_SPARE_BYTES", -(1 << 30))  # as if another took the space meanwhile
        with pytest.raises(DeviceFull, match="no space is left on the device while sending"):
            store.install(heavy)
        assert not list((small_disk / FOLDER / "bundles").iterdir())
        assert not list((small_disk / FOLDER / "incoming").glob("*.part")), "the part that did not fit is gone"
        store.remove()


def test_a_folder_that_cannot_be_written_is_told(target: Target, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with (
        target.transport() as device,
        pytest.raises(DeviceError, match="failed while looking at what the device holds"),
    ):
        Store(device, f"{tmp_path}/file").install(bundle)


def test_a_file_that_changes_while_it_is_sent_is_named(target: Target, bundle: Bundle, tmp_path: Path) -> None:
    made = forge(bundle, tmp_path / "b", "onnx/portable.onnx", lambda path: None)
    (made.folder / "onnx/portable.onnx").write_bytes(b"changed after it was opened")
    with target.transport() as device, pytest.raises(BadFile, match=r"portable\.onnx: changed while it was sent"):
        Store(device, str(tmp_path / "there")).install(made)
    assert not list((tmp_path / "there" / FOLDER / "bundles").iterdir())
