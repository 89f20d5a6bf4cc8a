"""The header fetcher's own judgement, without a network; the build itself shows that fetching works."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "runtimes" / "native" / "fetch_headers.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_headers", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("library", ["onnxruntime", "nlohmann-json"])
def test_changed_headers_are_not_taken(script: ModuleType, tmp_path: Path, library: str) -> None:
    headers = script.LIBRARIES[library]
    assert not script.complete(tmp_path, headers)
    for name in headers.names:
        (tmp_path / name).write_text("// something else\n")
    assert not script.complete(tmp_path, headers)


def test_a_machine_without_apt_is_told_so(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["fetch_headers.py", "onnxruntime", str(tmp_path / "headers")])
    assert script.main() == 1
    assert "'apt-get' is not installed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
