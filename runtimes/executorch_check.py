"""The process in which ExecuTorch runs the cases of a bundled program: a damaged one may end it.

`python -m svf_edge.runtimes.executorch_check BUNDLE DIALECT` writes one JSON line.
"""

from __future__ import annotations

import sys

from svf_edge.runtimes.base import Result
from svf_edge.runtimes.process import replies


class Checked(Result):
    """The cases that gave what they must."""

    cases: int


def main(arguments: list[str]) -> None:
    """Check the bundled program of one dialect."""
    folder, dialect = arguments
    with replies() as reply:
        from svf_edge.export.bundle import Bundle
        from svf_edge.runtimes.executorch import verify_bundled_program
        from svf_edge.runtimes.registry import find_runtime

        bundle = Bundle.open(folder)
        path = bundle.artefact("executorch", dialect).bundled
        assert path is not None
        cases = len(bundle.manifest.golden)
        with find_runtime(f"executorch {dialect}").open(bundle):  # which loads our kernels
            verify_bundled_program(bundle.path(path), cases)
        reply(Checked(cases=cases))


if __name__ == "__main__":
    main(sys.argv[1:])
