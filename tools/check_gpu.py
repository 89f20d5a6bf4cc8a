"""Everything that only a CUDA GPU can show, in one go (docs/cuda.md); writes a result file that names the device.

    python tools/check_gpu.py [-o benchmarks/results/gpu.json] [--check PROGRAM] [--cases N] [--quick]

Every kernel against the core's reference on random shapes, the same under compute-sanitizer (memcheck, racecheck), the
shipped network on the shipped clip against the reference interpreter, and the times of kernels beside torch's products
and elementwise chains of the same shapes. Exit code 1 when anything differs. `--check` names a `svf_cuda_check` that
was built before (tests/native/cuda with SVF_ON_GPU), for a machine without nvcc or cmake; the installed
`libsvf_cuda.so` is used as it is. Needs torch with CUDA.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svf_edge.errors import SvfError
from svf_edge.files import write_text
from svf_edge.runtimes.base import Result
from svf_edge.runtimes.machine import Machine, machine
from svf_edge.runtimes.torch_cuda import CudaGraph, CudaSession, unable_to_run

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests" / "native" / "cuda"
SANITIZERS = ("memcheck", "racecheck")
RUNS = 50
# frames, side, input channels, output channels, kernel; then the spikes a neuron fires in the mean.
CONVOLUTIONS = ((4, 56, 64, 256, 3), (4, 28, 128, 512, 3), (4, 14, 256, 1024, 1), (4, 14, 360, 1440, 1))
RATE = 0.1
ATTENTIONS = ((4 * 14 * 14, 256), (8 * 14 * 14, 256), (4 * 14 * 14, 360))  # tokens, channels; 8 heads
NEURONS = ((4, 56 * 56, 256), (4, 14 * 14, 1024))  # frames, positions, channels


class Time(Result):
    """Median milliseconds of one kernel and of what it is compared with, and its part of a peak of this device."""

    kernel: str
    shape: str
    ms: float
    beside: dict[str, float]
    part_of: str
    part: float


class GpuReport(Result):
    """What was seen. `sanitizers` hold None where compute-sanitizer is not installed."""

    at: str
    device: str
    capability: float
    torch: str
    cuda: str
    machine: Machine
    kernels: str
    shapes: dict[str, int]
    shapes_differing: dict[str, int]
    sanitizers: dict[str, bool | None]
    spikes: int
    spikes_differing: int
    outputs_exact: bool
    bandwidth: float  # bytes a nanosecond, of a copy
    int8_peak: float  # operations a nanosecond, of torch's int8 product
    times: tuple[Time, ...]

    def __bool__(self) -> bool:
        clean = all(found is not False for found in self.sanitizers.values())
        return clean and self.outputs_exact and not self.spikes_differing and not sum(self.shapes_differing.values())


def check_program(folder: Path) -> Path:
    """Builds `svf_cuda_check` for the GPU at hand. Raises `SvfError` where that fails."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    options = [
        "-DSVF_ON_GPU=ON",
        f"-DCMAKE_CUDA_ARCHITECTURES={major}{minor}-real",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    configure = ["cmake", "-S", str(SOURCE), "-B", str(folder), *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "svf_cuda_check", "--parallel"]):
        if shutil.which(command[0]) is None:
            raise SvfError("cmake was not found; pip install cmake, or name a built program by --check")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SvfError(f"{' '.join(command[:4])} failed: {' '.join((done.stderr or done.stdout).split())[-300:]}")
    return folder / "svf_cuda_check"


def run_check(program: Path, cases: int) -> tuple[dict[str, int], dict[str, int]]:
    """Shapes compared and differing by kernel set."""
    done = subprocess.run([str(program), str(cases)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SvfError(f"{program} stopped: {' '.join(done.stderr.split())[-300:]}")
    print(done.stdout, end="")
    counts = [line.replace(":", "").split() for line in done.stdout.splitlines() if " runs, " in line]
    return {name: int(runs) for name, runs, *_ in counts}, {name: int(count) for name, _, _, count, _ in counts}


def sanitize(program: Path, tool: str) -> bool | None:
    """Whether the check is clean under a tool of compute-sanitizer; None where it is not installed."""
    path = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if path is None:
        print(f"compute-sanitizer is not installed: {tool} was not run")
        return None
    command = [path, "--tool", tool, "--error-exitcode", "9", str(program), "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{tool}: {'clean' if done.returncode == 0 else done.stdout[-2000:]}")
    return done.returncode == 0


def run_network() -> tuple[int, int, bool]:
    """Spikes compared, spikes differing, and whether outputs are exact: the shipped model on the shipped clip."""
    from svf_edge.packing import unpack_spikes
    from svf_edge.program import load_program, run
    from svf_edge.runtimes.clips import program_clips
    from svf_edge.shipped import CLIP, PROGRAM

    program = load_program(PROGRAM)
    compared = differing = 0
    exact = True
    session = CudaSession(program, CudaGraph(program, taps=True))
    for clip in program_clips(program, [str(CLIP), "noise"], windows=4).values():
        trace, found = run(program, clip), session.run(clip)
        exact &= all(np.array_equal(values, found.outputs[name]) for name, values in trace.outputs.items())
        for lif in program.lifs:
            spikes = unpack_spikes(found.spikes[lif.name], trace.spikes[lif.name].shape[1], lif.levels)
            compared += spikes.size
            differing += int((spikes != trace.spikes[lif.name]).sum())
    print(f"shipped network: {compared} spikes compared, {differing} differ, outputs {'exact' if exact else 'WRONG'}")
    return compared, differing, exact


def milliseconds(run: Callable[[], object], runs: int) -> float:
    """Median time of a run on the GPU after a warm-up."""
    import torch

    for _ in range(5):
        run()
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(runs)]
    for start, end in marks:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return float(np.median([start.elapsed_time(end) for start, end in marks]))


def random_words(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Packed binary spikes `[T, H, W, words]` of `shape` `[T, C, H, W]` at the rate `RATE`, on the GPU."""
    import torch

    from svf_edge.packing import pack_spikes

    return torch.from_numpy(pack_spikes((rng.random(shape) < RATE).astype(np.int32), 1)).cuda()


def products(rows: int, common: int, columns: int, runs: int) -> dict[str, float]:
    """Times of torch's products [rows, common] @ [common, columns]."""
    import torch

    def timed(kind: torch.dtype) -> float:
        a, b = (torch.ones(size, dtype=kind, device="cuda") for size in ((rows, common), (common, columns)))
        return milliseconds(lambda: a @ b, runs)

    # Sizes that the int8 product takes.
    m, k, n = (max(32, -(-size // 16) * 16) for size in (rows, common, columns))
    left = torch.ones((m, k), dtype=torch.int8, device="cuda")
    right = torch.ones((n, k), dtype=torch.int8, device="cuda").t()
    return {
        "torch fp16 matmul": timed(torch.float16),
        "torch bf16 matmul": timed(torch.bfloat16),
        "torch int8 matmul": milliseconds(lambda: torch._int_mm(left, right), runs),
    }


def neurons(frames: Tensor, theta: float) -> Tensor:
    """A LIF over `[T, positions, channels]` as the chain of elementwise operators that torch would run."""
    import torch

    u, spikes = torch.zeros_like(frames[0]), []
    for x in frames:
        h = torch.floor((u + x) * 0.5)
        fired = h >= theta
        spikes.append(fired)
        u = torch.where(fired, torch.zeros_like(h), h)
    return torch.stack(spikes)


def neuron(channels: int) -> tuple[Any, ...]:
    """Gain, bias, theta and the reset of a LIF, on the GPU."""
    import torch

    return *(torch.full((channels,), value, dtype=torch.int32, device="cuda") for value in (1, 0, 40)), False


def time_convolution(shape: tuple[int, ...], peak: float, runs: int) -> Time:
    """A spike convolution with its LIF, beside products of the same sizes."""
    import torch

    frames, size, ins, outs, kernel = shape
    x = random_words(np.random.default_rng(0), (frames, ins, size, size))
    weight = torch.randint(-127, 128, (kernel, kernel, ins, outs), dtype=torch.int8, device="cuda")
    bias, shift = (torch.full((outs,), value, dtype=torch.int32, device="cuda") for value in (0, 6))
    where = (x, weight, bias, shift, [1, 1], [kernel // 2] * 2, 1, None)
    behind = (*neuron(outs), 1, False, 0)
    ms = milliseconds(lambda: torch.ops.svf.spike_conv2d_lif(*where, *behind), runs)
    rows, common = frames * size * size, kernel * kernel * ins
    return Time(
        kernel="spike convolution + LIF",
        shape=f"[{frames}, {ins}, {size}, {size}] to {outs}, {kernel}x{kernel}",
        ms=ms,
        beside=products(rows, common, outs, runs),
        part_of="int8 peak",
        part=2 * rows * common * outs / (ms * 1e6) / peak,
    )


def time_attention(shape: tuple[int, int], peak: float, runs: int) -> Time:
    """Hamming attention of 8 heads, beside its two products in float16."""
    import torch

    tokens, channels = shape
    rng = np.random.default_rng(0)
    words = [random_words(rng, (1, channels, 1, tokens)).reshape(1, tokens, -1) for _ in range(3)]
    width = channels // 8
    q, k = (torch.ones((8, tokens, width), dtype=torch.float16, device="cuda") for _ in range(2))
    ms = milliseconds(lambda: torch.ops.svf.hamming_attention(*words, channels, 8), runs)
    return Time(
        kernel="Hamming attention",
        shape=f"{tokens} tokens, {channels} channels, 8 heads",
        ms=ms,
        beside={"torch fp16 matmuls": milliseconds(lambda: q @ (k.transpose(1, 2) @ k), runs)},
        part_of="int8 peak",
        part=4 * tokens * channels * width / (ms * 1e6) / peak,
    )


def time_neurons(shape: tuple[int, int, int], bandwidth: float, runs: int) -> Time:
    """A LIF alone, beside the chain of elementwise operators."""
    import torch

    frames, positions, channels = shape
    x = torch.randint(-200, 200, (frames, positions, 1, channels), dtype=torch.int32, device="cuda")
    arguments = neuron(channels)
    single, half = x.float(), x.half()
    ms = milliseconds(lambda: torch.ops.svf.lif(x, *arguments), runs)
    return Time(
        kernel="LIF + pack",
        shape=f"[{frames}, {positions}, {channels}]",
        ms=ms,
        beside={
            "torch fp32 chain": milliseconds(lambda: neurons(single, 40.0), runs),
            "torch fp16 chain": milliseconds(lambda: neurons(half, 40.0), runs),
        },
        part_of="bandwidth of a copy",
        part=x.numel() * 4 * (1 + 1 / 32) / (ms * 1e6) / bandwidth,
    )


def measure(runs: int) -> tuple[float, float, tuple[Time, ...]]:
    """Bandwidth, int8 peak, and times of the kernels that matter."""
    import torch

    big = torch.zeros(1 << 28, dtype=torch.uint8, device="cuda")
    copy = torch.empty_like(big)
    bandwidth = 2 * big.numel() / (milliseconds(lambda: copy.copy_(big), runs) * 1e6)
    side = 8192
    peak = 2 * side**3 / (products(side, side, side, runs)["torch int8 matmul"] * 1e6)
    times = [time_convolution(shape, peak, runs) for shape in CONVOLUTIONS]
    times += [time_attention(shape, peak, runs) for shape in ATTENTIONS]
    times += [time_neurons(shape, bandwidth, runs) for shape in NEURONS]
    return bandwidth, peak, tuple(times)


def main() -> int:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "gpu.json")
    parser.add_argument("--check", type=Path, help="a svf_cuda_check that was built before")
    parser.add_argument("--cases", type=int, default=200, help="random cases of each operator")
    parser.add_argument("--quick", action="store_true", help="fewer cases and runs: does everything work?")
    arguments = parser.parse_args()
    reason = unable_to_run()
    if reason is not None:
        print(f"check_gpu: nothing was checked: {reason}", file=sys.stderr)
        return 1
    import torch

    from svf_edge.export.ops import cuda

    major, minor = torch.cuda.get_device_capability()
    print(f"{torch.cuda.get_device_name()}, {major}.{minor}, kernels: {cuda.kernels()}")
    try:
        program = arguments.check or check_program(ROOT / "build" / "gpu-check")
        shapes, differing = run_check(program, 5 if arguments.quick else arguments.cases)
    except (SvfError, OSError) as error:
        print(f"check_gpu: {error}", file=sys.stderr)
        return 1
    sanitizers = {tool: sanitize(program, tool) for tool in SANITIZERS}
    spikes, wrong, exact = run_network()
    bandwidth, peak, times = measure(5 if arguments.quick else RUNS)
    report = GpuReport(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        device=torch.cuda.get_device_name(),
        capability=major + minor / 10,
        torch=torch.__version__,
        cuda=str(torch.version.cuda),
        machine=machine(),
        kernels=cuda.kernels(),
        shapes=shapes,
        shapes_differing=differing,
        sanitizers=sanitizers,
        spikes=spikes,
        spikes_differing=wrong,
        outputs_exact=exact,
        bandwidth=bandwidth,
        int8_peak=peak,
        times=times,
    )
    for time in times:
        beside = ", ".join(f"{name} {ms:.3f} ms" for name, ms in time.beside.items())
        print(f"{time.kernel} {time.shape}: {time.ms:.3f} ms, {time.part:.0%} of the {time.part_of}; {beside}")
    write_text(arguments.output, report.model_dump_json(indent=2) + "\n")
    print(f"{'all equal' if report else 'SOMETHING DIFFERS'}; written to {arguments.output}")
    return 0 if report else 1


if __name__ == "__main__":
    sys.exit(main())
