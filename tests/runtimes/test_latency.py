from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import Program
from svf_edge.runtimes.latency import BenchReport, Distribution, Measurement, run_bench
from svf_edge.runtimes.latency_worker import Loaded
from svf_edge.runtimes.process import Worker
from tests.programs import noise_clip
from tests.runtimes.bundles import needs_library


def measurement(rounds: list[list[float]], clocks: list[float] | None = None) -> Measurement:
    return Measurement(
        import_ms=1,
        load_ms=1,
        first_run_ms=1,
        rounds=tuple(map(tuple, rounds)),
        clocks_mhz=tuple(clocks or []),
        file_bytes=1,
        memory_before_load=1,
        peak_memory=2,
        outputs_exact=True,
        versions={},
    )


def test_statistics_of_known_samples() -> None:
    stats = Distribution.of([float(v) for v in range(101)])
    assert (stats.count, stats.min, stats.p50, stats.p90, stats.p99, stats.max) == (101, 0, 50, 90, 99, 100)
    assert stats.mean == 50
    assert stats.variation == pytest.approx(np.sqrt((101**2 - 1) / 12) / 50)


def test_a_steady_measurement_is_good() -> None:
    steady = [[10 + 0.1 * (i % 3) for i in range(20)] for _ in range(3)]
    assert measurement(steady, [3000, 2990, 3000]).judgement == ("good", ())


def test_poor_measurements_say_why() -> None:
    word, reasons = measurement([[10.0] * 20 + [40.0] * 5, [10.0] * 25]).judgement
    assert (
        word == "noisy" and any("vary" in reason for reason in reasons) and any("p99" in reason for reason in reasons)
    )
    word, reasons = measurement([[10.0] * 5]).judgement
    assert word == "noisy" and reasons == ("only 5 runs, so p99 rests on the slowest one",)
    word, reasons = measurement([[10.0] * 20, [10.5] * 20, [12.0] * 20]).judgement
    assert word == "throttled" and "20% slower" in reasons[0]
    word, reasons = measurement([[10.0] * 20, [10.0] * 20], [3000, 1500]).judgement
    assert word == "throttled" and "1500 MHz" in reasons[0]


def test_one_slow_round_among_noise_is_not_throttling() -> None:
    noisy = [10.0] * 10 + [20.0] * 10
    assert measurement([noisy, [12.0] * 20]).judgement[0] == "noisy"


def test_bench_measures_each_variant_in_its_own_process(bundle: Bundle) -> None:
    told: list[float] = []
    report = run_bench(
        bundle,
        ["reference", "onnxruntime portable"],
        lambda what, part: told.append(part),
        runs=12,
        rounds=3,
        warm_up=1,
    )
    assert report
    assert told == sorted(told) and told[-1] == 1.0
    assert [variant.runtime for variant in report.variants] == ["reference", "onnxruntime portable"]
    for variant in report.variants:
        found = variant.measurement
        assert found is not None and found.outputs_exact is True
        assert [len(part) for part in found.rounds] == [4, 4, 4]
        assert min(found.samples) > 0 and found.load_ms > 0 and found.first_run_ms > 0
        assert found.peak_memory >= found.memory_before_load > 2**20
    reference, onnxruntime = (variant.measurement for variant in report.variants)
    assert reference is not None and onnxruntime is not None
    assert reference.peak_memory < onnxruntime.peak_memory  # the reference's process never loads onnxruntime
    assert onnxruntime.versions["onnxruntime"]
    assert BenchReport.model_validate_json(report.model_dump_json()) == report


def test_bench_takes_the_golden_clip_itself(program: Program, tmp_path: Path) -> None:
    """Also when it has the name of a generator."""
    made = write_bundle(program, tmp_path / "b", {"noise": noise_clip(program, 9)}, targets=())
    (variant,) = run_bench(made, ["reference"], runs=1).variants
    assert variant.measurement is not None and variant.measurement.outputs_exact is True


@pytest.mark.parametrize("runs", [2, 7, 11])
def test_exactly_the_runs_asked_for(runs: int, bundle: Bundle) -> None:
    (variant,) = run_bench(bundle, ["reference"], runs=runs, rounds=5, warm_up=1).variants
    assert variant.measurement is not None
    parts = [len(part) for part in variant.measurement.rounds]
    assert sum(parts) == runs and len(parts) == min(5, runs) and max(parts) - min(parts) <= 1


def test_the_time_limit_ends_a_round(bundle: Bundle) -> None:
    report = run_bench(bundle, ["reference"], runs=100_000, rounds=2, seconds=0.2)
    (variant,) = report.variants
    assert variant.measurement is not None
    assert 2 <= variant.measurement.distribution.count < 100_000


@needs_library("svf_ort")
def test_packed_measurements_name_their_kernels(bundle: Bundle) -> None:
    (variant,) = run_bench(bundle, ["onnxruntime packed"], runs=2, rounds=1).variants
    assert variant.measurement is not None, variant.failure
    assert variant.measurement.versions["kernels"]


def test_a_variant_that_cannot_run_says_why(bundle: Bundle) -> None:
    report = run_bench(bundle, ["reference", "executorch portable"], runs=2, rounds=1)
    assert report
    assert report.variants[1].measurement is None and report.variants[1].reason


def test_errors_of_the_measuring_process_arrive_as_sentences() -> None:
    command = ["svf_edge.runtimes.latency_worker", "no/such/bundle", "reference", "noise", "1", "1"]
    with Worker(command, {}) as worker, pytest.raises(SvfError, match="no/such/bundle: not a bundle"):
        worker.read(Loaded)
    with Worker(["no_such_module"], {}) as worker, pytest.raises(SvfError, match=r"exit code 1.*no_such_module"):
        worker.read(Loaded)


@pytest.mark.parametrize("option", ["threads", "runs", "rounds"])
def test_counts_below_one_are_refused(option: str, bundle: Bundle) -> None:
    with pytest.raises(UnsupportedInput, match=f"{option} is 0"):
        run_bench(bundle, ["reference"], **{option: 0})  # type: ignore[arg-type]
