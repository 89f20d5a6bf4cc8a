"""The numbers of a run: percentiles, jitter, and their place in tables, files and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svf_edge.errors import BadFile, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.clips import load_clips
from svf_edge.runtimes.latency import run_bench
from svf_edge.runtimes.parity import run_parity
from svf_edge.runtimes.report import write_report
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.runtimes.tracking.capture import Capture
from svf_edge.runtimes.tracking.json_lines import JsonLines, read_summary
from svf_edge.runtimes.tracking.measures import Histogram, Meter, Summary
from svf_edge.runtimes.tracking.pipeline import Outputs, Run
from svf_edge.runtimes.tracking.sources import open_source


@pytest.fixture
def summary(tracker: PoseTracker, ramp: Path, tmp_path: Path) -> Summary:
    capture = Capture(open_source(str(ramp)), every=True)
    return Run(tracker, capture, 1, True, None, Outputs(json=JsonLines(tmp_path / "run.jsonl"))).until_the_end()


def test_percentiles_are_exact_to_a_bin() -> None:
    values = np.random.default_rng(0).lognormal(2, 1, 5000)
    histogram = Histogram()
    for value in values:
        histogram.add(float(value))
    spread = histogram.spread()
    assert spread is not None and spread.count == 5000 and spread.max == values.max()
    for share in (50, 90, 99):
        assert getattr(spread, f"p{share}") == pytest.approx(np.percentile(values, share), rel=0.025)
    assert spread.mean == pytest.approx(values.mean())
    edges = np.array([0.0, 5, 10, 100])
    assert sum(histogram.coarse(edges)) == 5000
    np.testing.assert_allclose(histogram.coarse(edges)[:2], np.histogram(values, edges)[0][:2], rtol=0.05)
    assert Histogram().spread() is None


def test_jitter_is_that_of_second_differences_and_stops_at_a_gap() -> None:
    meter = Meter()
    path = np.cumsum(np.full((9, 13, 2), 3.0, np.float32), axis=0)  # even motion: none
    for points in path:
        meter.add(1.0, {"network": 1.0}, points, points, True)
    assert meter.numbers()["jitter"].raw_px == 0  # type: ignore[attr-defined]
    meter.add(1.0, {"network": 1.0}, path[0], path[0], False)  # lost, then elsewhere
    for points in path[:3] + 100:
        meter.add(1.0, {"network": 1.0}, points, points, True)
    assert meter.numbers()["jitter"].raw_px == 0  # type: ignore[attr-defined]
    meter.add(1.0, {"network": 1.0}, path[3] + 100 + np.float32([3, 4]), path[3] + 100, True)
    jitter = meter.numbers()["jitter"]
    assert jitter.raw_px == pytest.approx(5 / 9) and jitter.shown_px == 0  # type: ignore[attr-defined]


def test_a_file_gives_its_summary_back(summary: Summary, tmp_path: Path) -> None:
    assert read_summary(tmp_path / "run.jsonl") == summary
    for content in ("", "{}\n", '{"summary": {}}\n', "text\n", "[]\n"):
        (tmp_path / "other.jsonl").write_text(content)
        with pytest.raises(BadFile, match="does not end with the summary"):
            read_summary(tmp_path / "other.jsonl")
    with pytest.raises(BadFile, match="cannot be read"):
        read_summary(tmp_path / "absent.jsonl")


def test_a_run_is_a_section_of_the_report(bundle: Bundle, summary: Summary, tmp_path: Path) -> None:
    names = ["reference", "onnxruntime portable"]
    results = run_parity(bundle, load_clips(bundle), names), run_bench(bundle, names, runs=4, rounds=2)
    page = tmp_path / "report.html"
    with pytest.raises(UnsupportedInput, match="is not one of"):
        write_report(bundle, *results, page, tracked=summary)
    same = summary.model_copy(update={"fingerprint": fingerprint(bundle)})
    write_report(bundle, *results, page, tracked=same)
    assert "<h2>Tracking</h2>" in page.read_text() and "20 frames tracked" in page.read_text()
    assert '"frames_per_second"' in page.with_suffix(".json").read_text()
    write_report(bundle, *results, page)
    assert "<h2>Tracking</h2>" not in page.read_text()
