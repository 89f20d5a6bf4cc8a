"""Inputs that fuzzing found worth keeping, run again under the sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "runtimes" / "native" / "runner"
CORPUS = Path(__file__).parent / "corpus"
FILES = ("fuzz_bundle", "bundle", "failure", "folder", "json", "manifest", "sha256", "tensorfile")


def json_headers() -> Path:
    """Where the build found nlohmann's library."""
    found = [Path("/usr/include"), *ROOT.glob("build/*/headers/nlohmann-json")]
    for folder in found:
        if (folder / "nlohmann" / "json.hpp").is_file():
            return folder
    pytest.skip("needs nlohmann/json.hpp (apt: nlohmann-json3-dev), which building svf-run fetches")


@pytest.mark.slow
def test_the_corpus_passes_under_the_sanitizers(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    program, source = tmp_path / "replay", tmp_path / "replay.cpp"
    flags = ["-std=c++17", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DSVF_REPLAY"]
    # One unit, and not optimised: reading and instantiating the JSON library is most of the compiler's work.
    source.write_text("".join(f'#include "{SOURCES / name}.cpp"\n' for name in FILES))
    # After the compiler's own folders: as one of -isystem, /usr/include would come before the C++ library.
    subprocess.run([compiler, *flags, "-idirafter", str(json_headers()), str(source), "-o", str(program)], check=True)
    inputs = sorted(CORPUS.iterdir())
    assert len(inputs) > 10
    done = subprocess.run(
        [str(program), *map(str, inputs)], capture_output=True, text=True, env={"TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr[-3000:]
