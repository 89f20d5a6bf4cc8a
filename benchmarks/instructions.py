"""Instructions per multiply-accumulate of the innermost loops that the compiler made, and what llvm-mca makes of them.

    python -m benchmarks.instructions

Builds the core for this machine and, where the cross compiler is installed, for 64-bit ARM, reads the loops from the
object files, and needs llvm-mca (Debian: apt install llvm-16; older ones take the Cortex-A57 for a Neoverse N2).
Nothing runs: cycles are a model's.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.results import RESULTS
from svf_edge.files import write_text

ROOT = Path(__file__).parents[1]
CHECK = ROOT / "tests/native/check"
TOOLCHAIN = ROOT / "runtimes/native/toolchains/aarch64-linux-gnu.cmake"
ITERATIONS = 200


@dataclass(frozen=True)
class Library:
    """The register tile of a library's int8 kernel, on paper: instructions and products of a step of its loop."""

    name: str
    instructions: int
    products: int


@dataclass(frozen=True)
class Target:
    """One kernel set: its processor for llvm-mca, products of a dot instruction by mnemonic and register, the peer."""

    kernel_set: str
    objects: str
    processor: str
    products: Mapping[str, int]
    library: Library


# A tile of p pixels x v vectors takes p * v dot products, v loads, p broadcasts (none where the instruction takes a
# lane of a register) and two instructions of loop control a step.
X86 = (
    Target("avx2", "avx2", "haswell", {"vpmaddubsw.*%ymm": 32, "vpmaddwd.*%ymm": 16},
           # Three instructions a product that does not saturate: vpmaddubsw, vpmaddwd, vpaddd.
           Library("FBGEMM, 32-bit sums, 12 x 1", 12 * 3 + 1 + 12 + 2, 12 * 32)),
    Target("avx512", "avx512", "skylake-avx512", {"vpmaddubsw.*%zmm": 64, "vpmaddwd.*%zmm": 32},
           Library("FBGEMM, 32-bit sums, 14 x 2", 14 * 2 * 3 + 2 + 14 + 2, 14 * 2 * 64)),
    Target("avx512vnni", "avx512vnni", "icelake-server", {"vpdpbusd.*%zmm": 64},
           Library("oneDNN, VNNI, 6 x 4", 6 * 4 + 4 + 6 + 2, 6 * 4 * 64)),
)  # fmt: skip
ARM = (
    Target("neon", "neon", "cortex-a53", {r"smlal2?\tv\d+\.8h": 8, r"smlal2?\tv\d+\.4s": 4},
           # Weights widened in the loop, four products an instruction.
           Library("XNNPACK, SMLAL by lane, 4 x 8, 8 steps", 8 * (4 * 2 + 2) + 4 + 4 + 2, 8 * 4 * 8)),
    Target("neon-dotprod", "neon_dotprod", "cortex-a76", {r"sdot\tv\d+\.4s": 16},
           Library("XNNPACK, SDOT by lane, 4 x 16, 2 steps", 2 * (4 * 4 + 4) + 4 + 2, 2 * 4 * 16 * 4)),
    Target("neon-i8mm", "neon_i8mm", "neoverse-n2", {r"smmla\tv\d+\.4s": 32, r"sdot\tv\d+\.4s": 16},
           # Two rows and two columns an instruction; a pair of rows is two loads.
           Library("KleidiAI, SMMLA, 8 x 4", 4 * 2 + 2 + 4 + 2, 8 * 4 * 8)),
)  # fmt: skip

# The widest tile of each kernel.
KERNELS = {
    "dense spikes": r"^dense_(?:pixels<\w+, \d+, \d+, false>|pairs<\w+, \d*[02468], \d+>)",
    "depthwise spikes": r"^depthwise_pixels<8, false>",
    "bytes": r"^(?:multiply<ByteDot, \d+|multiply_pairs<ByteDot, \d*[02468]), \d+>",
}


@dataclass(frozen=True)
class Count:
    """One innermost loop. `cycles`: of llvm-mca, an iteration; a missing one could not be read by it."""

    kernel_set: str
    kernel: str
    function: str
    instructions: int
    products: int
    processor: str
    cycles: float | None
    library: str
    library_instructions_per_product: float


def build(folder: Path, *options: str) -> Path:
    """The core's object files."""
    for command in (["cmake", "-S", str(CHECK), "-B", str(folder), *options], ["cmake", "--build", str(folder)]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "core/CMakeFiles/svf_core.dir"


def functions(objdump: str, path: Path) -> dict[str, list[str]]:
    """Lines of every function of an object file, by its name."""
    text = subprocess.run([objdump, "-dC", "--no-show-raw-insn", str(path)], check=True, capture_output=True, text=True)
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.stdout.splitlines():
        if line.endswith(">:"):
            name = line.split(" ", 1)[1].replace("svf::(anonymous namespace)::", "").replace("void ", "")
            lines = found.setdefault(name.lstrip("<"), [])
        elif re.match(r"\s+[0-9a-f]+:\t", line):
            lines.append(line)
    return found


def innermost_loops(lines: Sequence[str]) -> list[list[str]]:
    """Runs of instructions that end in a jump back to their first, with no such run inside."""
    places = [int(line.split(":", 1)[0], 16) for line in lines]
    spans = []
    for end, line in enumerate(lines):
        jump = re.search(r"\t(?:j\w+|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+([0-9a-f]+) <", line)
        if jump and (target := int(jump[1], 16)) <= places[end] and target in places:
            spans.append((places.index(target), end))
    inner = [a for a in spans if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in spans)]
    return [list(lines[first : last + 1]) for first, last in inner]


def products(loop: Sequence[str], target: Target) -> int:
    """Multiply-accumulates of one iteration."""
    return sum(number for line in loop for pattern, number in target.products.items() if re.search(pattern, line))


def modelled_cycles(loop: Sequence[str], target: Target, triple: str) -> float | None:
    """Cycles of an iteration by llvm-mca, or nothing where it does not read the loop."""
    code = [re.sub(r"\s+(?:#|//).*$", "", line.split(":\t", 1)[1]) for line in loop]
    code = [re.sub(r"[0-9a-f]+ <.*>$", "begin", line) for line in code]
    command = [model(), f"-mtriple={triple}", f"-mcpu={target.processor}", f"-iterations={ITERATIONS}", "-"]
    text = "begin:\n" + "\n".join(code) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    total = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    return int(total[1]) / ITERATIONS if total and done.returncode == 0 else None


def count(target: Target, folder: Path, objdump: str, triple: str) -> list[Count]:
    """The loop with the most products of each kernel."""
    found = functions(objdump, folder / f"kernels_{target.objects}.cpp.o")
    counts = []
    for kernel, pattern in KERNELS.items():
        loops = [
            (products(loop, target), name, loop)
            for name, lines in found.items()
            if re.search(pattern, name)
            for loop in innermost_loops(lines)
        ]
        if not loops:
            raise SystemExit(f"{target.kernel_set}: no loop of {kernel} was found in {folder}")
        most, name, loop = max(loops, key=lambda entry: (entry[0], -len(entry[2])))
        found_name = re.search(r"(\w+<[^>]*>)", name)
        assert found_name is not None
        counts.append(
            Count(
                target.kernel_set,
                kernel,
                found_name[1],
                len(loop),
                most,
                target.processor,
                modelled_cycles(loop, target, triple),
                target.library.name,
                target.library.instructions / target.library.products,
            )
        )
    return counts


def model() -> str:
    """The newest llvm-mca there is. Raises `SystemExit` without one."""
    names = [*(f"llvm-mca-{number}" for number in range(30, 13, -1)), "llvm-mca"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise SystemExit("llvm-mca is not installed; on Debian: apt install llvm-16")
    return found


def version() -> str:
    """What llvm-mca calls its version."""
    text = subprocess.run([model(), "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"LLVM version (\S+)", text)
    return found[1] if found else "unknown"


def main() -> None:
    """Count, and write the result file."""
    model()
    counts: list[Count] = []
    with tempfile.TemporaryDirectory() as folder:
        if platform.machine() == "x86_64":
            objects = build(Path(folder) / "x86")
            for target in X86:
                counts += count(target, objects, "objdump", "x86_64-linux-gnu")
        if shutil.which("aarch64-linux-gnu-g++"):
            objects = build(Path(folder) / "arm", f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}")
            for target in ARM:
                counts += count(target, objects, "aarch64-linux-gnu-objdump", "aarch64-linux-gnu")
    result = {"llvm_mca": version(), "loops": [asdict(entry) for entry in counts]}
    write_text(RESULTS / "instructions.json", json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
