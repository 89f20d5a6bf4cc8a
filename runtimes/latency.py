"""Latency of every runtime variant, each in a fresh process, in interleaved rounds.

Importing, loading (cold start) and the first run are reported apart from the runs after the warm-up. Rounds take turns,
so that a slow minute of the machine falls on all variants. The measurement is judged, too: a noisy or throttled one
says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from svf_edge.errors import SvfError
from svf_edge.runtimes.base import Progress, Result, Runtime, fingerprint, no_progress
from svf_edge.runtimes.latency_worker import Loaded, Round
from svf_edge.runtimes.machine import Machine, machine
from svf_edge.runtimes.process import Worker
from svf_edge.runtimes.registry import find_runtimes

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

NOISY_VARIATION = 0.10
NOISY_TAIL = 2.0
DRIFT = 1.10
FEW_RUNS = 30
BUSY = 0.5

Judgement = Literal["good", "noisy", "throttled"]


class Distribution(Result):
    """Statistics of run times in milliseconds. Percentiles are interpolated linearly between samples."""

    count: int
    min: float
    p50: float
    p90: float
    p99: float
    max: float
    mean: float
    variation: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Self:
        """Statistics of at least one sample; `variation` is the standard deviation divided by the mean."""
        values = np.asarray(milliseconds, np.float64)
        p50, p90, p99 = (float(p) for p in np.percentile(values, (50, 90, 99)))
        mean = float(values.mean())
        return cls(
            count=values.size,
            min=float(values.min()),
            p50=p50,
            p90=p90,
            p99=p99,
            max=float(values.max()),
            mean=mean,
            variation=float(values.std()) / mean,
        )


class Measurement(Result):
    """One variant: raw samples per round in milliseconds, and what belongs beside them."""

    import_ms: float
    load_ms: float
    first_run_ms: float
    rounds: tuple[tuple[float, ...], ...]
    clocks_mhz: tuple[float, ...]
    file_bytes: int
    memory_before_load: int
    peak_memory: int
    outputs_exact: bool | None
    versions: dict[str, str]

    @property
    def samples(self) -> list[float]:
        """All runs after the warm-up, in the order they ran."""
        return [sample for part in self.rounds for sample in part]

    @property
    def distribution(self) -> Distribution:
        """Statistics of all runs after the warm-up."""
        return Distribution.of(self.samples)

    @property
    def judgement(self) -> tuple[Judgement, tuple[str, ...]]:
        """Whether the measurement itself is sound, and the reasons when it is not."""
        stats = self.distribution
        noise, heat = [], []
        if stats.variation > NOISY_VARIATION:
            noise.append(f"run times vary by {stats.variation:.0%}")
        if stats.p99 > NOISY_TAIL * stats.p50:
            noise.append(f"p99 is {stats.p99 / stats.p50:.1f} times the median")
        if stats.count < FEW_RUNS:
            noise.append(f"only {stats.count} runs, so p99 rests on the slowest one")
        first, usual = (float(p) for p in np.percentile(self.rounds[0], (50, 90)))
        last = float(np.median(self.rounds[-1]))
        if last > max(DRIFT * first, usual):
            heat.append(f"the last round is {last / first - 1:.0%} slower than the first")
        if self.clocks_mhz and max(self.clocks_mhz) > DRIFT * min(self.clocks_mhz):
            heat.append(f"the clock fell from {max(self.clocks_mhz):.0f} to {min(self.clocks_mhz):.0f} MHz")
        return ("throttled" if heat else "noisy" if noise else "good"), (*heat, *noise)


class VariantBench(Result):
    """One runtime variant: a measurement, or why there is none."""

    runtime: str
    measurement: Measurement | None = None
    failure: str | None = None
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.measurement is not None and self.measurement.outputs_exact is not False


class BenchReport(Result):
    """All variants under the same conditions. True when every one that can run here was measured and is exact."""

    bundle: str
    fingerprint: str
    when: str
    clip: str
    threads: int
    runs: int
    warm_up: int
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    machine: Machine
    variants: tuple[VariantBench, ...]

    def __bool__(self) -> bool:
        return any(self.variants) and all(variant or variant.reason for variant in self.variants)

    @property
    def busy(self) -> str | None:
        """A remark when others used the machine before the measurement began."""
        if self.load_before[0] > BUSY * self.machine.cores:
            return (
                f"load average was {self.load_before[0]:.1f} on {self.machine.cores} cores before the measurement began"
            )
        return None


def run_bench(
    bundle: Bundle,
    runtimes: Sequence[str] | None = None,
    progress: Progress = no_progress,
    *,
    threads: int = 1,
    runs: int = 100,
    warm_up: int = 3,
    rounds: int = 5,
    seconds: float = 20.0,
) -> BenchReport:
    """Measure `runtimes` (all by default) on the bundle's first golden clip, or on noise when it has none.

    Every variant gets `runs` runs in (at most) `rounds` turns, each after `warm_up` uncounted ones, or as many as fit
    into `seconds` of its own.
    Graphs are the ones that are deployed, without taps; their outputs are held against the golden ones.

    Raises `UnsupportedInput` for an unknown runtime or counts below 1.
    """
    chosen = find_runtimes(runtimes)
    _check(threads=threads, runs=runs, warm_up=warm_up, rounds=rounds)
    rounds = min(rounds, runs)
    clip = bundle.manifest.golden[0].name if bundle.manifest.golden else "noise"
    load_before = os.getloadavg()
    results: dict[str, VariantBench] = {}
    with ExitStack() as stack:
        workers: list[tuple[Runtime, Worker, Loaded]] = []
        for index, runtime in enumerate(chosen):
            progress(f"loading {runtime.name}", index / len(chosen) / (rounds + 1))
            reason = runtime.available(bundle)
            if reason is not None:
                results[runtime.name] = VariantBench(runtime=runtime.name, reason=reason)
                continue
            command = [
                "svf_edge.runtimes.latency_worker",
                str(bundle.folder),
                runtime.name,
                clip,
                str(threads),
                str(warm_up),
            ]
            worker = stack.enter_context(Worker(command, {"OMP_NUM_THREADS": str(threads)}))
            try:
                workers.append((runtime, worker, worker.read(Loaded)))
            except SvfError as error:
                results[runtime.name] = VariantBench(runtime=runtime.name, failure=str(error))
        parts: dict[str, list[Round]] = {runtime.name: [] for runtime, _, _ in workers}
        for turn in range(rounds):
            share = runs // rounds + (turn < runs % rounds)
            for index, (runtime, worker, _) in enumerate(workers):
                if runtime.name in results:
                    continue
                progress(
                    f"{runtime.name}, round {turn + 1} of {rounds}", (turn + 1 + index / len(workers)) / (rounds + 1)
                )
                try:
                    worker.send({"runs": share, "seconds": seconds / rounds})
                    parts[runtime.name].append(worker.read(Round, patience=2 * seconds))
                except SvfError as error:
                    results[runtime.name] = VariantBench(runtime=runtime.name, failure=str(error))
        for runtime, _, loaded in workers:
            if runtime.name not in results:
                measured = _measurement(loaded, parts[runtime.name])
                results[runtime.name] = VariantBench(runtime=runtime.name, measurement=measured)
    progress("bench", 1.0)
    return BenchReport(
        bundle=str(bundle.folder),
        fingerprint=fingerprint(bundle),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        clip=clip,
        threads=threads,
        runs=runs,
        warm_up=warm_up,
        load_before=load_before,
        load_after=os.getloadavg(),
        machine=machine(),
        variants=tuple(results[runtime.name] for runtime in chosen),
    )


def _check(**counts: int) -> None:
    from svf_edge.errors import UnsupportedInput

    for name, value in counts.items():
        if value < 1:
            raise UnsupportedInput(f"{name} is {value}; at least 1 is needed")


def _measurement(loaded: Loaded, rounds: list[Round]) -> Measurement:
    return Measurement(
        import_ms=loaded.import_ms,
        load_ms=loaded.load_ms,
        first_run_ms=loaded.first_run_ms,
        rounds=tuple(part.milliseconds for part in rounds),
        clocks_mhz=tuple(part.clock_mhz for part in rounds if part.clock_mhz is not None),
        file_bytes=loaded.file_bytes,
        memory_before_load=loaded.memory_before_load,
        peak_memory=rounds[-1].peak_memory,
        outputs_exact=loaded.outputs_exact,
        versions=loaded.versions,
    )
