"""A bundled program (`.bpte`): an ExecuTorch program with inputs and the outputs that it must give.

ExecuTorch's own tools and apps run such a file and check themselves; they need nothing of ours but the operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage
from svf_edge.export.executorch import METHOD, quiet
from svf_edge.files import atomic_write

Case = tuple[NDArray[np.uint8], Mapping[str, NDArray[np.int32]]]


def write_bundled_program(program: Path, cases: Sequence[Case], path: Path) -> None:
    """Write the ExecuTorch file `program` to `path` together with `cases`: frames `[T, C, H, W]`, outputs by name.

    Raises `MissingPackage` without executorch.
    """
    import torch

    with quiet():
        try:
            from executorch.devtools.bundled_program.config import MethodTestCase, MethodTestSuite
            from executorch.devtools.bundled_program.core import BundledProgram
            from executorch.devtools.bundled_program.serialize import serialize_from_bundled_program_to_flatbuffer
        except ModuleNotFoundError as error:
            raise MissingPackage("executorch", "executorch") from error

        tests = [
            MethodTestCase([torch.from_numpy(frames)], [torch.from_numpy(values) for values in outputs.values()])
            for frames, outputs in cases
        ]
        suites = [MethodTestSuite(METHOD, tests)]
        content = serialize_from_bundled_program_to_flatbuffer(BundledProgram(None, suites, str(program)))
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
