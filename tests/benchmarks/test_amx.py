"""Matrix tiles, denied to a process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import amx

DENIED = """
import subprocess, sys
from benchmarks import amx
amx.deny()
print(amx.state())
print(subprocess.run([sys.executable, "-c", "from benchmarks import amx; print(amx.state())"], capture_output=True,
                     text=True, check=True).stdout.strip())
"""


def test_a_process_and_its_children_get_none_once_it_is_denied() -> None:
    done = subprocess.run([sys.executable, "-c", DENIED], capture_output=True, text=True, check=True)
    expected = "denied" if amx.present() else "not present"
    assert done.stdout.split("\n")[:2] == [expected, expected]
    assert amx.state() in ("allowed", "not present")  # this process asked for nothing to be denied
