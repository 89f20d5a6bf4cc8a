"""The core that a bundle is tested with is the bundle's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from svf_edge.errors import SvfError
from svf_edge.export.bundle import Bundle
from svf_edge.export.ops import available_isas, force_isa
from svf_edge.runtimes.clips import load_clips
from svf_edge.runtimes.core import CORE, kernel_set
from svf_edge.runtimes.parity import run_parity
from svf_edge.runtimes.registry import find_runtime
from tests.runtimes.bundles import forge, needs_library

pytestmark = [needs_library("svf_core"), needs_library("svf_ort")]

PACKED = "onnxruntime packed"

TWICE = """
import sys
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.registry import find_runtime
for folder in sys.argv[1:]:
    with find_runtime("onnxruntime packed").open(Bundle.open(folder)):
        pass
"""


@pytest.fixture(scope="module")
def rebuilt(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same bundle with a core of other content (the byte behind the end changes nothing that is run)."""
    (core,) = [entry for entry in bundle.manifest.libraries if entry.name == CORE]
    folder = tmp_path_factory.mktemp("rebuilt") / "b"
    return forge(bundle, folder, core.path, lambda path: path.write_bytes(path.read_bytes() + b"\0"))


def test_another_build_of_the_core_is_refused(rebuilt: Bundle) -> None:
    assert available_isas()  # loads the installed core
    with pytest.raises(SvfError, match=r"libsvf_core\.so: another build of this library is already loaded, from /"):
        find_runtime(PACKED).open(rebuilt)
    (entry,) = run_parity(rebuilt, load_clips(rebuilt), [PACKED]).runtimes
    assert entry.verdict == "failed" and "use a new process" in str(entry)


def test_bundles_with_one_core_share_a_process(bundle: Bundle, rebuilt: Bundle, tmp_path: Path) -> None:
    copy = forge(bundle, tmp_path / "copy", "onnx/packed.onnx", lambda path: None)
    for second, status in ((copy, 0), (rebuilt, 1)):
        command = [sys.executable, "-c", TWICE, str(bundle.folder), str(second.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("another build" in done.stderr) == bool(status)


@pytest.mark.parametrize("isa", available_isas()[:2])
def test_the_kernel_set_is_that_of_the_loaded_core(bundle: Bundle, isa: str) -> None:
    with find_runtime(PACKED).open(bundle), force_isa(isa):
        assert kernel_set() == {"kernels": isa}
