"""What `svf-run` prints: one JSON document a command, read here into models.

`svf-run` is the harness of a device without Python (`runtimes/native/runner`). Its documents hold what the device can
know: it compares spikes by the digests of the bundle, so it knows which layer differs and not which neuron. The spikes
of layers that differ can be written to files (`--spikes`), and the host finds the address with them
(`svf_edge.runtimes.runner_results`).
"""

from __future__ import annotations

from enum import IntEnum

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.latency import Distribution, Judgement
from svf_edge.runtimes.parity import OutputParity, Verdict


class ExitCode(IntEnum):
    """How `svf-run` ends. Any failure also leaves one sentence on standard error."""

    OK = 0
    DIFFERS = 1
    USAGE = 2
    BAD_BUNDLE = 3
    MISSING_LIBRARY = 4
    MACHINE = 5


class RunnerMachine(Result):
    """The machine as `svf-run` saw it. None where it does not say; `emulated` under an emulator of another CPU."""

    platform: str
    cpu: str
    cores: int
    affinity: tuple[int, ...]
    governor: str | None
    system: str
    emulated: bool


class RunnerInfo(Result):
    """`svf-run info`: the program itself. `backends` are runtimes it was built for, `reads` the versions it reads."""

    svf_run: str
    machine: RunnerMachine
    backends: tuple[str, ...]
    reads: dict[str, int]


class RunnerCheck(Result):
    """`svf-run check BUNDLE`: every file was held against its hash, the manifest against its schema.

    `runtimes` says for every runtime None when it can run here, else why not.
    """

    svf_run: str
    bundle: str
    fingerprint: str
    machine: RunnerMachine
    exported_by: str
    files: int
    bytes: int
    layers: int
    golden: tuple[str, ...]
    runtimes: dict[str, str | None]


class RunnerLayer(Result):
    """One layer's spikes: how many there can be, how many fired on the device, whether their digest is the golden one.

    `spikes` names a file with the device's words (int32, little endian, in row order) where they differ and `--spikes`
    was given.
    """

    layer: str
    size: int
    fired: int
    equal: bool
    spikes: str | None


class RunnerClip(Result):
    """One runtime on one golden clip."""

    clip: str
    layers: tuple[RunnerLayer, ...]
    outputs: tuple[OutputParity, ...]


class RunnerRuntime(Result):
    """One runtime on all golden clips. `failure` or `reason` says why it failed or was not run."""

    runtime: str
    verdict: Verdict
    clips: tuple[RunnerClip, ...]
    lifeless: tuple[str, ...]
    failure: str | None
    reason: str | None
    versions: dict[str, str]


class RunnerParity(Result):
    """`svf-run parity BUNDLE`. `required` are the runtimes asked for by name."""

    svf_run: str
    bundle: str
    fingerprint: str
    machine: RunnerMachine
    threads: int
    required: tuple[str, ...]
    equal: bool
    runtimes: tuple[RunnerRuntime, ...]


class RunnerTiming(Result):
    """Times in milliseconds.

    `library_ms` loads the runtime's libraries, `load_ms` the graph. `first_pose_ms` is the cold start: opening and
    checking the bundle, both of these, and the first run.
    """

    open_ms: float
    library_ms: float
    load_ms: float
    first_run_ms: float
    first_pose_ms: float
    rounds: tuple[tuple[float, ...], ...]
    clocks_mhz: tuple[float, ...]
    distribution: Distribution
    judgement: Judgement
    remarks: tuple[str, ...]


class RunnerMeasurement(Result):
    """One runtime. `timing` is None under emulation: an emulator's times are no device's."""

    timing: RunnerTiming | None
    file_bytes: int
    memory_before_load: int
    peak_memory: int
    outputs_exact: bool
    versions: dict[str, str]


class RunnerVariant(Result):
    """One runtime variant: a measurement, or why there is none."""

    runtime: str
    measurement: RunnerMeasurement | None
    failure: str | None
    reason: str | None


class RunnerTimed(Result):
    """What a document of measurements begins with: what ran where, on the first golden clip."""

    svf_run: str
    bundle: str
    fingerprint: str
    machine: RunnerMachine
    when: str
    clip: str
    threads: int
    runs: int
    warm_up: int
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]


class RunnerBench(RunnerTimed):
    """`svf-run bench BUNDLE`: all runtimes in turns."""

    variants: tuple[RunnerVariant, ...]


class RunnerOperator(Result):
    """One operator, or with `part` one of those that a delegate runs within the operator at `index`.

    `kind` is the runtime's name for what it computes, `node` the name in the graph (empty where the runtime
    keeps none). `milliseconds` has an entry a run (of a stream: a step), and none under emulation.
    """

    index: int
    part: bool
    kind: str
    node: str
    milliseconds: tuple[float, ...]


class RunnerOperators(Result):
    """One runtime's operators in running order."""

    operators: tuple[RunnerOperator, ...]
    outputs_exact: bool
    versions: dict[str, str]


class RunnerProfiled(Result):
    """One runtime variant: its operators, or why there are none."""

    runtime: str
    profile: RunnerOperators | None
    failure: str | None
    reason: str | None


class RunnerProfile(RunnerTimed):
    """`svf-run profile BUNDLE`: one runtime after the other, under the runtime's profiler."""

    variants: tuple[RunnerProfiled, ...]
