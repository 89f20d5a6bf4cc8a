"""An integer program as an ExecuTorch file (`.pte`)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from svf_edge.errors import MissingPackage
from svf_edge.export.density import NO_RATES, Rates
from svf_edge.export.torch_graph import TorchDialect, build_module
from svf_edge.files import atomic_write
from svf_edge.program import Program
from svf_edge.program.stream import state_tensors

METHOD = "forward"


def export_executorch(
    program: Program,
    dialect: TorchDialect,
    path: str | Path,
    taps: bool = False,
    stream: bool = False,
    rates: Rates = NO_RATES,
) -> None:
    """Write `program` to `path` as an ExecuTorch program with the one method `forward`.

    `portable` is delegated to XNNPACK as a whole (float32). `packed` calls the kernels of libsvf_executorch and a few
    stock ones for additions and transposes. Inputs and outputs are those of `torch_graph.build_module`.

    Raises what `build_module` raises, and `MissingPackage` without executorch.
    """
    import torch

    program = program.for_steps(1) if stream else program
    module = build_module(program, dialect, taps, stream=stream, rates=rates).eval()
    with quiet():
        try:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
        except ModuleNotFoundError as error:
            raise MissingPackage("executorch", "executorch") from error

        frames = torch.zeros(program.frames.shape, dtype=torch.uint8)
        state = [
            torch.zeros(tensor.sizes(channels_last=dialect == "packed"), dtype=torch.int32)
            for tensor in (state_tensors(program) if stream else ())
        ]
        with torch.no_grad():
            exported = torch.export.export(module, (frames, *state))
        delegates = [XnnpackPartitioner()] if dialect == "portable" else []
        lowered = to_edge_transform_and_lower(exported, partitioner=delegates).to_executorch()
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        lowered.write_to_file(file)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings that the export stack raises about its own packages; errors still show."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
