"""TensorRT on a device: the bundle's own script there, which drives trtexec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from shlex import join, quote

from pydantic import ValidationError

from svf_edge.errors import BadFile
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.base import bundled_graph
from svf_edge.runtimes.devices.errors import DeviceError
from svf_edge.runtimes.devices.runner import Runner
from svf_edge.runtimes.devices.store import Store
from svf_edge.runtimes.devices.tensorrt_results import TensorRTDocument
from svf_edge.runtimes.devices.transport import Transport
from svf_edge.runtimes.runner_schema import ExitCode, RunnerParity

NAME = "tensorrt"
SCRIPT = PurePosixPath("tensorrt/run.py")
SECONDS = 3600.0
"""Patience for a task: the plug-in and two engines may have to be built on a small board."""


def check_tensorrt(bundle: Bundle) -> None:
    """Raise `BadFile` unless `bundle` brings what TensorRT needs on a device."""
    if bundled_graph(bundle, NAME, "qdq") is None or str(SCRIPT) not in bundle.manifest.files:
        raise BadFile(f"{bundle.folder}: brings nothing for TensorRT; export it with `svf-edge export --to tensorrt`")


class TensorRTRunner(Runner):
    """The script in the bundle folder `folder` of a device. What it builds stays beside the bundles, for next time."""

    def __init__(self, transport: Transport, store: Store, folder: str) -> None:
        super().__init__(transport, store, folder, str(SCRIPT))
        self._work = f"{store.folder}/tensorrt"

    def compare(self) -> RunnerParity:
        """Compare every layer's spikes on all golden clips. Raises `SvfError`."""
        self._transport.check(f"rm -rf {quote(self._spikes)}", doing="removing spikes of another run")
        found = self._document(["parity", "--spikes", self._spikes], "comparing spikes with TensorRT")
        if found.parity is None:
            raise self._no_document("parity")
        shared = found.model_dump(include={"svf_run", "bundle", "fingerprint", "machine"})
        return RunnerParity(**shared, **found.parity.model_dump())

    def measure(self, runs: int) -> TensorRTDocument:
        """Measure latency in every mode; the document has a `bench`. Raises `SvfError`."""
        found = self._document(["bench", "--runs", str(runs)], "measuring TensorRT")
        if found.bench is None:
            raise self._no_document("bench")
        return found

    def _document(self, arguments: Sequence[str], doing: str) -> TensorRTDocument:
        command = ["python3", str(SCRIPT), *arguments, "--work", self._work]
        done = self._transport.run(f"cd {join([self._folder])} && exec {join(command)}", doing=doing, timeout=SECONDS)
        if done.code not in (ExitCode.OK, ExitCode.DIFFERS) or not done.stdout:
            raise self._failure(done, SCRIPT.name)
        try:
            return TensorRTDocument.model_validate_json(done.stdout)
        except ValidationError as error:
            raise self._no_document(".".join(map(str, error.errors()[0]["loc"])) or "no JSON") from error

    def _no_document(self, what: str) -> DeviceError:
        return DeviceError(
            f"{self._transport.address}: {SCRIPT} printed no document that this version reads ({what}); export the "
            "bundle again with this version"
        )
