"""The stock int8 alternative on ExecuTorch: the float network quantised by its own tool chain (pt2e) for XNNPACK.

Static, symmetric, int8 weights per channel, calibrated on real clips; everything that XNNPACK takes is delegated to it,
LIF included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.torch_twin import TorchTwin
from svf_edge.errors import MissingPackage
from svf_edge.export.executorch import quiet
from svf_edge.files import atomic_write
from svf_edge.program import Program

Scope = Literal["none", "convolutions", "all"]


def xnnpack_twin(program: Program, clips: Sequence[NDArray[np.uint8]], path: Path, scope: Scope) -> None:
    """Write `program`'s float network to `path` as a `.pte`.

    `scope` says what is int8: nothing, the convolutions, or every operator that the quantiser knows. Raises
    `MissingPackage` without executorch or torchao.
    """
    with quiet():
        try:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
                XNNPACKQuantizer,
                get_symmetric_quantization_config,
            )
            from executorch.exir import to_edge_transform_and_lower
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        except ModuleNotFoundError as error:
            raise MissingPackage("executorch", "executorch") from error
        example = (torch.from_numpy(clips[0]),)
        with torch.no_grad():
            graph = torch.export.export(TorchTwin(program).eval(), example).module()
            if scope != "none":
                config = get_symmetric_quantization_config(is_per_channel=True)
                quantiser = XNNPACKQuantizer()
                if scope == "all":
                    quantiser.set_global(config)
                else:
                    quantiser.set_operator_type(torch.ops.aten.conv2d.default, config)
                prepared = prepare_pt2e(graph, quantiser)
                for clip in clips:
                    prepared(torch.from_numpy(clip))
                graph = convert_pt2e(prepared)
            exported = torch.export.export(graph, example)
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        lowered.write_to_file(file)
