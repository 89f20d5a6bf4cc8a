"""A stand-in for trtexec on a "device" of the tests: its command line and files, over ONNX Runtime instead of TensorRT.

What it cannot show is TensorRT. What it shows is that the bundle's script gives trtexec the right frames and state, and
reads its files rightly: it runs the graph's nodes through their function bodies, so that real spikes come back.

SVF_FAKE_TRTEXEC says how it is to misbehave: `version N`, `log TEXT` (fails with it), `flip NAME` (one wrong value).
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

_KINDS = {"tensor(int32)": "int32", "tensor(float)": "fp32"}


def option(name: str) -> str | None:
    """The value of `--name=value`, or "" for `--name`, or None."""
    for argument in sys.argv[1:]:
        key, _, value = argument.partition("=")
        if key == f"--{name}":
            return value
    return None


def build(source: str, target: str, layers: str | None) -> None:
    """The "engine" is the graph with function bodies."""
    import onnx

    from svf_edge.export.tensorrt.functions import plugin_bodies

    model = onnx.load(source)
    model.functions.extend(plugin_bodies("float64"))
    model.opset_import.append(onnx.helper.make_opsetid("ai.svf.body", 1))
    Path(target).write_bytes(model.SerializeToString())
    if layers:
        names = [{"Name": node.name, "LayerType": node.op_type} for node in model.graph.node]
        Path(layers).write_text(json.dumps({"Layers": names}))


def infer(engine: str, given: dict[str, Path], flipped: str | None) -> None:
    """Run it once and write every output into the current folder."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(engine, providers=["CPUExecutionProvider"])
    types = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32}
    inputs = {x.name: np.fromfile(given[x.name], types[x.type]).reshape(x.shape) for x in session.get_inputs()}
    outputs = session.get_outputs()
    for output, values in zip(outputs, session.run(None, inputs), strict=True):
        if output.name == flipped:
            values.flat[0] = 1 - values.flat[0]
        name = re.sub(r"[^A-Za-z0-9._,-]", "_", output.name)
        size = ".".join(map(str, values.shape))
        values.tofile(f"{name}.output.{size}.{_KINDS[output.type]}.raw")


def main() -> int:
    """One call of trtexec."""
    fault, _, detail = os.environ.get("SVF_FAKE_TRTEXEC", "").partition(" ")
    print(
        f"&&&& RUNNING TensorRT.trtexec [TensorRT v{detail if fault == 'version' else '100300'}] # {' '.join(sys.argv)}"
    )
    if "--help" in sys.argv:
        return 0
    if fault == "log":
        print(f"[E] {detail}")
        return 1
    if not Path(option("dynamicPlugins") or "").is_file():
        print("[E] Could not load plugin library")
        return 1
    source, engine, times = option("onnx"), option("loadEngine"), option("exportTimes")
    if source is not None:
        assert option("stronglyTyped") == "" and option("skipInference") == ""
        build(source, option("saveEngine") or "", option("exportLayerInfo"))
    elif engine is not None and times is not None:
        runs = int(option("iterations") or 0)
        graph = 0.5 if option("useCudaGraph") is None else 0.0
        copies = 0.25 if option("noDataTransfers") is None else 0.0
        Path(times).write_text(json.dumps([{"latencyMs": 1 + graph + copies + run / 1e3} for run in range(runs)]))
        print("[W] * GPU compute time is unstable, with coefficient of variance = 3%.")
    elif engine is not None:
        pairs = (entry.rpartition(":") for entry in (option("loadInputs") or "").split(","))
        infer(engine, {name: Path(path) for name, _, path in pairs}, detail if fault == "flip" else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
