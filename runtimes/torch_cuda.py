"""torch on a CUDA GPU: the packed operators, each of them a kernel of ours.

Not yet seen on hardware (docs/cuda.md): machines without a GPU get as far as the sentence that says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from svf_edge.errors import MissingLibrary, UnsupportedInput
from svf_edge.export.libraries import find_library
from svf_edge.program import Program
from svf_edge.runtimes.base import Clip, RunResult, Runtime, Session, check_clip, named_results
from svf_edge.runtimes.cuda import Driver, NoGpu
from svf_edge.runtimes.stream import StreamSession

if TYPE_CHECKING:
    from svf_edge.export.bundle import Bundle

LIBRARY = "svf_cuda"


def unable_to_run() -> str | None:
    """None when this machine can run the operators on a GPU, else why not, as a clause ("needs ...")."""
    try:
        Driver()
        find_library(LIBRARY)
    except NoGpu as error:
        return str(error)
    except MissingLibrary as error:
        return f"needs the CUDA kernels ({error})"
    import torch

    if not torch.cuda.is_available():
        return f"needs a torch that finds the GPU (this is {torch.__version__}; install a build with CUDA)"
    return None


class CudaGraph:
    """A program as a packed module on GPU 0: arrays in, arrays out, copies included."""

    def __init__(self, program: Program, *, taps: bool, stream: bool = False, device: str = "cuda") -> None:
        """`device` is another one where the launchers are emulated."""
        from svf_edge.export.torch_graph import build_module

        self._device = device
        self._module = build_module(program, "packed", taps, stream=stream).to(device)

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Run it once and wait."""
        import torch

        with torch.no_grad():
            results = self._module(*(torch.from_numpy(array).to(self._device) for array in arrays))
        return [result.cpu().numpy() for result in results]


class CudaSession(Session):
    """A clip graph whose results are named."""

    def __init__(self, program: Program, graph: CudaGraph) -> None:
        self._program = program
        self._graph = graph

    def run(self, frames: Clip) -> RunResult:
        """Run uint8 frames `[T, C, H, W]`."""
        check_clip(self._program, frames)
        return named_results(self._program, self._graph(frames))


class TorchCuda(Runtime):
    """The bundle's program as torch's packed module on GPU 0."""

    name = "torch cuda packed"

    def available(self, bundle: Bundle) -> str | None:
        """Needs a GPU, the CUDA kernels, a torch with CUDA, and a program that the packed operators take."""
        from svf_edge.export.packable import check_packed

        reason = unable_to_run()
        if reason is not None:
            return reason
        try:
            check_packed(bundle.program())
        except UnsupportedInput as error:
            return str(error)
        return None

    def graph(self, bundle: Bundle) -> Path:
        """The program file."""
        from svf_edge.export.bundle.reader import PROGRAM

        return bundle.path(PROGRAM)

    def open(self, bundle: Bundle, *, threads: int = 1, taps: bool = False) -> Session:
        """Build the module and move it to the GPU; `threads` has no effect."""
        program = bundle.program()
        if bundle.manifest.form == "clip":
            return CudaSession(program, CudaGraph(program, taps=taps))
        steps = CudaGraph(program.for_steps(1), taps=taps, stream=True)
        return StreamSession(program, lambda inputs: steps(*inputs.values()), channels_last=True)

    def prepare(self) -> None:
        """Import torch."""
        import torch  # noqa: F401  (only whether it is there)

    def conditions(self, bundle: Bundle) -> dict[str, str]:
        """Version of torch, the GPU and the kernel set."""
        import torch

        from svf_edge.export.ops import cuda

        return {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(), "kernels": cuda.kernels()}
