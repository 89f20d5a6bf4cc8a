"""The stock int8 alternative: the float twin quantised by ONNX Runtime's own tool chain, as its documentation advises.

Static quantisation in QDQ format, convolutions and matrix products, int8 weights per channel, uint8 activations with
ranges calibrated on real clips. It is a network of its own: its outputs are near the float twin's, not equal to ours.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Feed = dict[str, NDArray[Any]]


class Feeds(CalibrationDataReader):
    """Hands inputs by name to the calibrator one by one."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next inputs, or None when there are no more."""
        return next(self._feeds, None)


def int8_twin(model: onnx.ModelProto, clips: Sequence[NDArray[np.uint8]]) -> onnx.ModelProto:
    """`model` (a float twin) in int8 QDQ form, calibrated on `clips` uint8 `[T, C, H, W]`."""
    return quantised(model, [{"frames": clip} for clip in clips])


def quantised(model: onnx.ModelProto, feeds: Sequence[Feed]) -> onnx.ModelProto:
    """Any float `model` in int8 QDQ form, calibrated on `feeds`."""
    logging.getLogger().setLevel(logging.ERROR)  # the tool reports every initialiser it leaves alone
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (str(Path(folder) / name) for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, source)
        quant_pre_process(source, prepared)
        quantize_static(
            prepared,
            result,
            Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(result)
