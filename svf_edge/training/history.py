"""What a run has reached so far, epoch by epoch: `metrics.json` and `metrics.csv` in its folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svf_edge.errors import BadFile
from svf_edge.files import write_text

Row = Mapping[str, Any]


class History:
    """One row of numbers per epoch; `phase` and `epoch` (from 1) tell rows apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = self._read()

    def _read(self) -> list[Row]:
        path = self.folder / "metrics.json"
        if not path.exists():
            return []
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["epochs"]
            return [dict(row) for row in rows if isinstance(row["phase"], str) and isinstance(row["epoch"], int)]
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(f"{path}: damaged; delete it, which loses the curves so far and nothing else") from error

    def rewind(self, phase: str, epochs: int) -> None:
        """Forget what a phase did after `epochs` epochs: a killed run does it again."""
        self.rows = [row for row in self.rows if row["phase"] != phase or row["epoch"] <= epochs]

    def add(self, row: Row) -> None:
        """Append a row and write both files."""
        self.rows.append(row)
        write_text(self.folder / "metrics.json", json.dumps({"epochs": self.rows}, indent=1))
        names = dict.fromkeys(name for row in self.rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "metrics.csv", text.getvalue())

    @property
    def seconds(self) -> float:
        """Time spent in the epochs that count."""
        return float(sum(row.get("seconds", 0.0) for row in self.rows))
