"""What TensorRT made of a bundle on this machine, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from svf_edge.errors import MissingPackage
from svf_edge.runtimes.base import Result, bundled_library
from svf_edge.runtimes.tensorrt.engine import LIBRARY, build_engine, unable_to_run
from svf_edge.runtimes.tensorrt.harness import TensorRT

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle


class TensorRTReport(Result):
    """What TensorRT made of a bundle on this machine.

    `ran` tells whether the engine ran a clip with the right outputs; if not, `reason` is why, as a clause. True when
    the engine was built with all its plug-in layers.
    """

    builder_version: str | None = None
    engine_bytes: int = 0
    plugin_layers: tuple[str, ...] = ()
    expected_plugin_layers: int
    ran: bool = False
    reason: str | None = None
    build_seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.builder_version is not None and len(self.plugin_layers) == self.expected_plugin_layers

    def __str__(self) -> str:
        if self.builder_version is None:
            return f"engine not built: {self.reason}"
        built = (
            f"engine built by {self.builder_version} in {self.build_seconds:.1f} s, {self.engine_bytes} bytes, "
            f"plug-in layers {len(self.plugin_layers)} of {self.expected_plugin_layers}"
        )
        return f"{built}; ran, outputs exact" if self.ran else f"{built}; not run: {self.reason}"


def tensorrt_report(bundle: Bundle, folder: Path | None = None) -> TensorRTReport:
    """Build the engine of `bundle`, and run its first golden clip where a GPU allows it.

    Raises `BadFile`, `MissingLibrary` or `SvfError` as `build_engine` does; a missing TensorRT is a reason, no error.
    """
    from svf_edge.export.tensorrt import plugin_layers

    stream = bundle.manifest.form == "stream"
    program = bundle.program()
    expected = plugin_layers(program.for_steps(1) if stream else program, stream)
    try:
        engine = build_engine(TensorRT().graph(bundle), bundled_library(bundle, LIBRARY), expected, folder)
    except MissingPackage as error:
        return TensorRTReport(expected_plugin_layers=len(expected), reason=str(error))
    reason = unable_to_run(engine.package) or _difference(bundle)
    return TensorRTReport(
        builder_version=engine.builder,
        engine_bytes=engine.path.stat().st_size,
        plugin_layers=engine.plugin_layers,
        expected_plugin_layers=len(expected),
        ran=reason is None,
        reason=reason,
        build_seconds=engine.build_seconds,
    )


def _difference(bundle: Bundle) -> str | None:
    """Which output of the first golden clip differs on this machine's GPU, as a clause."""
    name = bundle.manifest.golden[0].name
    frames, outputs = bundle.golden(name)
    with TensorRT().open(bundle) as session:
        result = session.run(frames).outputs
    wrong = [key for key, values in outputs.items() if not np.array_equal(values, result[key])]
    return f"output '{wrong[0]}' differs from golden clip '{name}'" if wrong else None
