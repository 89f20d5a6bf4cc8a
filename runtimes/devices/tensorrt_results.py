"""What a bundle's `tensorrt/run.py` prints on a device, read here into models."""

from __future__ import annotations

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.latency import Distribution
from svf_edge.runtimes.runner_schema import RunnerMachine, RunnerRuntime


class TensorRTMode(Result):
    """One way of running an engine: raw samples in milliseconds, and what trtexec says of the measurement."""

    mode: str
    milliseconds: tuple[float, ...]
    remarks: tuple[str, ...]

    @property
    def distribution(self) -> Distribution:
        """Statistics of the samples."""
        return Distribution.of(self.milliseconds)


class TensorRTBench(Result):
    """Latency of an engine with and without transfers and CUDA graphs, as trtexec on the device measured it.

    `plugin_layers` are those of the program's that TensorRT names in its description of the engine.
    """

    tensorrt: str
    gpu: str
    clip: str
    runs: int
    plugin_layers: tuple[str, ...]
    expected_plugin_layers: int
    outputs_exact: bool
    build_seconds: float
    engine_bytes: int
    modes: tuple[TensorRTMode, ...]

    def __bool__(self) -> bool:
        return self.outputs_exact


class TensorRTParity(Result):
    """Every layer's spikes and every output on the golden clips."""

    required: tuple[str, ...]
    threads: int
    equal: bool
    runtimes: tuple[RunnerRuntime, ...]


class TensorRTDocument(Result):
    """The whole document."""

    svf_run: str
    bundle: str
    fingerprint: str
    machine: RunnerMachine
    when: str
    parity: TensorRTParity | None = None
    bench: TensorRTBench | None = None
