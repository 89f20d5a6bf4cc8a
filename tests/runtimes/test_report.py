from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from svf_edge.errors import UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.program import Program
from svf_edge.runtimes.base import fingerprint
from svf_edge.runtimes.clips import load_clips
from svf_edge.runtimes.latency import BenchReport, run_bench
from svf_edge.runtimes.parity import ParityReport, run_parity
from svf_edge.runtimes.report import write_report
from svf_edge.runtimes.report.page import firing_rates, layer_groups
from tests.runtimes.bundles import forge, rewrite

NAMES = ["reference", "onnxruntime portable"]


@pytest.fixture(scope="module")
def results(bundle: Bundle) -> tuple[ParityReport, BenchReport]:
    return run_parity(bundle, load_clips(bundle), NAMES), run_bench(bundle, NAMES, runs=6, rounds=2)


class References(HTMLParser):
    """Everything in a page that a browser would fetch, and how often each element occurs."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.elements: dict[str, int] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.fetched += [
            value or "" for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "data")
        ]


def test_the_page_needs_nothing_but_itself(
    bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_report(bundle, *results, path, notes=["a <note> that must be escaped"])
    page = path.read_text()
    found = References()
    found.feed(page)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in found.fetched)
    assert found.elements["svg"] == 2 and found.elements["img"] == 1
    assert "script" not in found.elements and "link" not in found.elements
    assert not re.search(r"https?://|@import|url\((?!#)", page)
    assert "a &lt;note&gt; that must be escaped" in page
    assert "Same spikes on every runtime that ran" in page
    for name in NAMES:
        assert name in page
    stored = json.loads(path.with_suffix(".json").read_text())
    assert ParityReport.model_validate(stored["parity"]) == results[0]
    assert BenchReport.model_validate(stored["bench"]) == results[1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_failure_is_what_the_page_says_first(
    bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    parity, bench = results
    broken = parity.runtimes[1].model_copy(update={"failure": "it broke"})
    failed = parity.model_copy(update={"runtimes": (parity.runtimes[0], broken)})
    write_report(bundle, failed, bench, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Parity is not shown" in page and "it broke" in page and "Same spikes" not in page


@pytest.mark.parametrize(
    "model",
    ["my net", None, {"head": "pose"}, {"head": {"kind": "pose", "joints": "many"}}, {"head": {"kind": "pose"}}],
)
def test_meta_may_hold_anything(
    model: object, bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    other = forge(bundle, tmp_path / "b", "onnx/packed.onnx", lambda path: None)
    other = rewrite(other.folder, other.manifest.model_copy(update={"model": {"model": model}}))
    mark = {"fingerprint": fingerprint(other)}
    parity, bench = results
    page = tmp_path / "report.html"
    write_report(other, parity.model_copy(update=mark), bench.model_copy(update=mark), page)
    assert ("my net" in page.read_text()) == (model == "my net")


def test_the_page_is_not_replaced_by_its_json(
    bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedInput, match=r"report\.json: .* call the page \.html"):
        write_report(bundle, *results, tmp_path / "report.json")
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_is_left(
    bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the page before")
    with pytest.raises(UnsupportedInput, match="nothing to report"):
        write_report(bundle, results[0].model_copy(update={"runtimes": ()}), results[1], path)
    assert path.read_text() == "the page before"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_page_claims_no_comparison_of_the_reference_with_itself(
    bundle: Bundle, results: tuple[ParityReport, BenchReport], tmp_path: Path
) -> None:
    parity = run_parity(bundle, load_clips(bundle, ["noise"]), NAMES)
    write_report(bundle, parity, results[1], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "reference: yardstick: no clip is golden" in page and "Same spikes on every runtime that ran" in page
    assert re.search("<td>reference</td>\\s*<td>\N{EN DASH}</td>", page)
    assert f"0 of {len(bundle.manifest.taps)} layers silent or saturated on every clip" in page


def test_firing_rates_are_those_of_the_reference(
    bundle: Bundle, program: Program, results: tuple[ParityReport, BenchReport]
) -> None:
    from svf_edge.program import run

    trace = run(program, bundle.golden("golden")[0])
    rates = firing_rates(results[0])
    assert rates == {name: pytest.approx(float(np.mean(spikes))) for name, spikes in trace.spikes.items()}
    assert min(rates.values()) > 0 and max(rates.values()) < 1


def test_layers_are_grouped_by_block() -> None:
    layers = [f"stage{s}.{b}.{part}.lif" for s in range(3) for b in range(6) for part in ("mlp", "attn")]
    groups = layer_groups(layers)
    assert list(groups) == ["stage0", "stage1", "stage2"]
    assert [layer for group in groups.values() for layer in group] == layers
    assert layer_groups(["a.lif", "head"]) == {"a": ["a.lif"], "head": ["head"]}
