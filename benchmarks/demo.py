"""Keep the table of a demo run as a result file.

python -m benchmarks.demo out/demo/report.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from svf_edge.files import write_text
from svf_edge.runtimes.latency import BenchReport
from svf_edge.runtimes.parity import ParityReport

RESULT = Path(__file__).parent / "results" / "demo.json"


def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """One row a runtime, and the remarks, of the JSON that `svf-edge demo` writes."""
    parity, bench = ParityReport.model_validate(report["parity"]), BenchReport.model_validate(report["bench"])
    measured = {variant.runtime: variant.measurement for variant in bench.variants}
    rows = []
    for entry in parity.runtimes:
        row: dict[str, Any] = {"runtime": entry.runtime, "verdict": entry.verdict}
        if (found := measured.get(entry.runtime)) is not None:
            stats = found.distribution
            row |= {"compared": entry.compared, "differing": entry.differing, "exact": entry.outputs_exact}
            row |= {"p50": stats.p50, "p90": stats.p90, "p99": stats.p99}
            row |= {"file_bytes": found.file_bytes, "peak_memory": found.peak_memory}
        rows.append(row)
    remarks = [*report["notes"], *([bench.busy] if bench.busy else [])]
    return {"when": bench.when, "machine": bench.machine.model_dump(mode="json"), "rows": rows, "remarks": remarks}


def main() -> None:
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(RESULT, json.dumps(summarise(report), indent=1) + "\n")


if __name__ == "__main__":
    main()
