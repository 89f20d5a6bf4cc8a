#!/usr/bin/env python3
"""The bundle on a device with TensorRT: builds the plug-in and the engine, compares every spike, measures.

    python3 tensorrt/run.py                     both of the following
    python3 tensorrt/run.py parity              every layer's spikes and every output on the golden clips
    python3 tensorrt/run.py bench               latency with and without CUDA graphs and transfers
    python3 tensorrt/run.py commands            the commands that it would run, to be read or run by hand

It needs Python 3.10, trtexec (JetPack has it) and, unless the bundle holds the plug-in for this platform, cmake, a C++
compiler and nvcc. Nothing is written into the bundle: what is built lies below --work and is built once. The result is
one JSON document on standard output; what goes on is told on standard error. Exit codes are those of svf-run: 0 equal
and measured, 1 something differs, 2 usage, 3 a damaged bundle, 4 no plug-in, 5 the machine.
"""

from __future__ import annotations

import argparse
import array
import hashlib
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

OLDEST = 100300
"""TensorRT's version number from which on the plug-ins' interface is there: 10.3.0."""

DIFFERS, USAGE, BAD_BUNDLE, MISSING_LIBRARY, MACHINE = 1, 2, 3, 4, 5
MODES = (
    ("transfers", ()),
    ("transfers, CUDA graph", ("--useCudaGraph",)),
    ("no transfers", ("--noDataTransfers",)),
    ("no transfers, CUDA graph", ("--noDataTransfers", "--useCudaGraph")),
)
PLACES = ("/usr/src/tensorrt/bin", "/usr/local/tensorrt/bin", "~/.local/bin")

_WIDTHS = {"uint8": 1, "int8": 1, "int32": 4, "fp32": 4}
# What TensorRT's log says, and what it comes to. The first that fits counts.
_CAUSES = (
    (
        r"plugin.{0,40}not found|no (plugin )?(importer|creator)|could not (load|find) plugin",
        "a plug-in is missing; give --dynamicPlugins the library libsvf_trt.so of this bundle",
    ),
    (
        r"not compatible with this version|serialization.{0,20}(version|mismatch)|(version|magic) tag does not match",
        "the engine was built by another version of TensorRT; delete it, and it is built again",
    ),
    (
        r"incompatible device|different (gpu|device)|another device|compute capability.{0,80}(match|differ|support)",
        "the engine was built for another GPU; delete it, and it is built again",
    ),
    (
        r"(out of|not in|not within|satisf\w+).{0,60}profile|profile.{0,60}(dimension|shape)|dimension mismatch",
        "a tensor has another shape than the engine was built for; export the bundle for that shape",
    ),
    (
        r"no cuda-capable device|driver version is insufficient|libcuda\.so|cuda (init|error|fail)[^.]{0,40}(35|100)",
        "no NVIDIA GPU can be used; check that its driver runs (nvidia-smi, or tegrastats on a Jetson)",
    ),
    (r"out of memory|outofmemory|insufficient (device )?memory", "the GPU's memory does not suffice; close programs"),
)


class Stop(Exception):
    """Ends the run: one sentence and an exit code."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def explain(log: str) -> str:
    """One clause of what TensorRT's log says went wrong, with what to do; else its last error in its own words."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, log, re.IGNORECASE):
            return cause
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\[E\]|error", line, re.IGNORECASE)]
    words = " ".join((errors or lines or ["no message"])[-1].split())[:300]
    return f"TensorRT says: {words}"


def version_number(text: str) -> int | None:
    """TensorRT's version from what trtexec prints at its start, `[TensorRT v100300]`: 100300."""
    found = re.search(r"\[TensorRT v(\d+)\]", text)
    return int(found.group(1)) if found else None


def version_name(number: int) -> str:
    """`10.3.0` for 100300, `8.6.1` for 8601."""
    major, rest = divmod(number, 10000 if number >= 100000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def too_old(number: int) -> str | None:
    """Why this TensorRT cannot be used, or None."""
    if number >= OLDEST:
        return None
    return f"TensorRT {version_name(number)} is too old; the plug-ins need 10.3 (JetPack 6) or newer"


def raw_name(name: str, shape: Sequence[int], kind: str) -> str:
    """The file that trtexec's --dumpRawBindingsToFile writes for an output."""
    safe = re.sub(r"[^A-Za-z0-9._,-]", "_", name)
    return f"{safe}.output.{'.'.join(map(str, shape))}.{kind}.raw"


def tell(message: str) -> None:
    """What goes on, on standard error."""
    print(f"run.py: {message}", file=sys.stderr, flush=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Bundle:
    """The folder that holds this script, with every file that is used checked against the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / "manifest.json").read_bytes()
            self.manifest: dict[str, Any] = json.loads(text.decode())
        except (OSError, ValueError) as error:
            raise Stop(BAD_BUNDLE, f"{folder}: is no bundle ({error}); copy the whole folder again") from None
        self.fingerprint = hashlib.sha256(text).hexdigest()
        self.check: dict[str, Any] = json.loads(self.file("tensorrt/check.json").read_text())

    def file(self, name: str) -> Path:
        """A file of the bundle. Raises `Stop` when it is absent or not as it was exported."""
        entry = self.manifest["files"].get(name)
        path = self.folder / name
        if entry is None or not path.is_file() or digest(path) != entry["sha256"]:
            raise Stop(BAD_BUNDLE, f"{path}: is missing or differs from the manifest; copy or export the bundle again")
        return path

    def sources(self) -> list[Path]:
        """The plug-in's sources."""
        names = sorted(name for name in self.manifest["files"] if name.startswith("tensorrt/source/"))
        if not names:
            raise Stop(BAD_BUNDLE, f"{self.folder}: holds no sources of the plug-in; export the bundle again")
        return [self.file(name) for name in names]

    def plugin(self) -> Path | None:
        """The plug-in as it was built for this platform, if the bundle holds it."""
        here = platform_name()
        for library in self.manifest["libraries"]:
            if (library["name"], library["platform"]) == ("svf_trt", here):
                return self.file(library["path"])
        return None

    def golden(self, clip: dict[str, Any]) -> dict[str, tuple[str, list[int], bytes]]:
        """Tensors of a golden vector: dtype, shape, bytes (the safetensors format)."""
        data = self.file(clip["golden"]).read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            found[name] = (entry["dtype"], entry["shape"], data[8 + size + begin : 8 + size + end])
        return found


def platform_name() -> str:
    """This machine in the manifest's spelling, `linux-aarch64`."""
    return f"{platform.system()}-{platform.machine()}".lower()


class Device:
    """trtexec and what belongs to it on this machine."""

    def __init__(self, bundle: Bundle, options: argparse.Namespace) -> None:
        self.bundle = bundle
        self.work = Path(options.work).expanduser().absolute()
        if "," in str(self.work):
            raise Stop(USAGE, f"{self.work}: trtexec splits paths at commas; give another --work")
        self.work.mkdir(parents=True, exist_ok=True)
        self.trtexec = find_trtexec(options.trtexec)
        said = self._output([self.trtexec, "--help"])
        number = version_number(said)
        if number is None:
            raise Stop(
                MACHINE, f"{self.trtexec}: does not say its version as trtexec does; name another with --trtexec"
            )
        if problem := too_old(number):
            raise Stop(MACHINE, problem)
        self.version = version_name(number)
        self.gpu = gpu_name()
        self.library = Path(options.plugin).absolute() if options.plugin else None

    def _output(self, command: Sequence[str]) -> str:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise Stop(MACHINE, f"{command[0]}: cannot be started ({error})") from None
        return done.stdout.decode(errors="replace")

    def plugin(self) -> Path:
        """The plug-in library, built here unless it was given or is in the bundle. Raises `Stop`."""
        if self.library is None:
            self.library = self.bundle.plugin() or self._build_plugin()
        if not self.library.is_file():
            raise Stop(MISSING_LIBRARY, f"{self.library}: not found; name the library libsvf_trt.so with --plugin")
        return self.library

    def _build_plugin(self) -> Path:
        sources = self.bundle.sources()
        key = hashlib.sha256("\n".join([self.version, *map(digest, sources)]).encode()).hexdigest()[:16]
        target = self.work / f"plugin-{key}" / "libsvf_trt.so"
        if target.is_file():
            return target
        for program, package in (("cmake", "cmake"), ("c++", "build-essential")):
            if shutil.which(program) is None:
                raise Stop(MISSING_LIBRARY, f"'{program}' is needed to build the plug-in; apt install {package}")
        tell("building the plug-in, a minute or two")
        build = target.with_name("build")
        for command in plugin_commands(self.bundle.folder / "tensorrt/source", build):
            self.log(command, build.parent, MISSING_LIBRARY, "the plug-in could not be built")
        found = sorted(build.rglob("libsvf_trt.so"))
        if not found:
            raise Stop(MISSING_LIBRARY, f"{build}: holds no libsvf_trt.so after the build; its log is beside it")
        found[0].replace(target)
        return target

    def log(self, command: Sequence[str], folder: Path, code: int, failed: str) -> str:
        """Run a command in `folder`, its words kept in `log.txt` there. Raises `Stop` with what they come to."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a+b") as file:
            start = file.tell()
            file.write(("$ " + " ".join(command) + "\n").encode())
            file.flush()
            try:
                done = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False)
            except OSError as error:
                raise Stop(code, f"{failed}: {command[0]} cannot be started ({error})") from None
            file.seek(start)
            said = file.read().decode(errors="replace")
        if done.returncode:
            ours = [line.strip() for line in said.splitlines() if "svf: " in line or "CMake Error" in line]
            why = ours[-1][:300] if ours else explain(said)
            raise Stop(code, f"{failed}: {why} (log: {folder / 'log.txt'})")
        return said

    def engine(self, graph: str) -> dict[str, Any]:
        """The engine of a graph, from an earlier run or built: its path, and what was seen of it."""
        model, library = self.bundle.file(graph), self.plugin()
        parts = [self.version, self.gpu, digest(model), digest(library)]
        folder = self.work / f"engine-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"
        record, target = folder / "record.json", folder / "model.engine"
        try:
            known: dict[str, Any] = json.loads(record.read_text())
            if digest(target) == known["sha256"]:
                return {**known, "path": target}
        except (OSError, ValueError, KeyError):
            pass
        tell(f"building the engine of {graph}, some minutes")
        begin = time.monotonic()
        partial, layers = folder / "partial.engine", folder / "layers.json"
        command = [self.trtexec, *engine_options(model, library, self.bundle.check["tf32"], partial, layers)]
        self.log(command, folder, MACHINE, f"{model}: the engine could not be built")
        if not partial.is_file():
            raise Stop(MACHINE, f"{model}: trtexec wrote no engine (log: {folder / 'log.txt'})")
        found = {
            "sha256": digest(partial),
            "build_seconds": time.monotonic() - begin,
            "engine_bytes": partial.stat().st_size,
            "plugin_layers": plugin_layers(layers, self.bundle.check["plugins"]),
        }
        partial.replace(target)
        record.write_text(json.dumps(found))
        return {**found, "path": target}

    def infer(self, engine: Path, inputs: dict[str, bytes], name: str) -> Path:
        """Run an engine once; the folder then holds its outputs as raw files."""
        folder = self.work / "runs" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files = {}
        for index, (tensor, data) in enumerate(inputs.items()):
            files[tensor] = folder / f"input-{index}.raw"
            files[tensor].write_bytes(data)
        command = [self.trtexec, *run_options(engine, self.plugin(), files)]
        self.log(command, folder, MACHINE, f"{engine}: TensorRT could not run it")
        return folder


def find_trtexec(given: str | None) -> str:
    """trtexec's path. Raises `Stop`."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(os.path.expanduser, PLACES)])
    path = shutil.which(given or "trtexec", path=None if given else places)
    if path is None:
        looked = given or f"PATH, {', '.join(PLACES)}"
        raise Stop(
            MACHINE,
            f"trtexec was not found (looked in: {looked}); install TensorRT 10.3 or newer (JetPack: apt install "
            "tensorrt), or name it with --trtexec",
        )
    return path


def gpu_name() -> str:
    """The GPU, so that its engines are not used on another one."""
    model = Path("/proc/device-tree/model")
    if model.is_file():
        return model.read_text(errors="replace").strip("\0 \n")
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "unknown"
    query = [smi, "--query-gpu=name,compute_cap", "--format=csv,noheader", "--id=0"]
    done = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode(errors="replace").strip() or "unknown"


def plugin_commands(source: Path, build: Path) -> list[list[str]]:
    """How the plug-in is built on a device."""
    return [
        ["cmake", "-S", str(source / "tensorrt"), "-B", str(build)],
        ["cmake", "--build", str(build), "--parallel"],
    ]


def engine_options(model: Path, library: Path, tf32: bool, engine: Path, layers: Path) -> list[str]:
    """trtexec's options that build an engine."""
    return [
        f"--onnx={model}",
        f"--dynamicPlugins={library}",
        "--stronglyTyped",
        *([] if tf32 else ["--noTF32"]),
        f"--saveEngine={engine}",
        "--profilingVerbosity=detailed",
        f"--exportLayerInfo={layers}",
        "--skipInference",
    ]


def run_options(engine: Path, library: Path, inputs: dict[str, Path]) -> list[str]:
    """trtexec's options that run an engine once and write its outputs into the current folder."""
    return [
        f"--loadEngine={engine}",
        f"--dynamicPlugins={library}",
        f"--loadInputs={','.join(f'{name}:{path}' for name, path in inputs.items())}",
        "--iterations=1",
        "--warmUp=0",
        "--duration=0",
        "--dumpRawBindingsToFile",
    ]


def bench_options(engine: Path, library: Path, runs: int, times: Path, mode: Sequence[str]) -> list[str]:
    """trtexec's options that time an engine on random frames: its time does not depend on them."""
    return [
        f"--loadEngine={engine}",
        f"--dynamicPlugins={library}",
        f"--iterations={runs}",
        "--warmUp=500",
        "--duration=0",
        f"--exportTimes={times}",
        *mode,
    ]


def plugin_layers(path: Path, expected: dict[str, Any]) -> list[str]:
    """Which of the expected plug-in layers TensorRT names in its description of the engine."""
    try:
        text = path.read_text()
    except OSError:
        return []
    return [name for name in expected if json.dumps(name)[1:-1] in text]


def read_raw(folder: Path, tensor: dict[str, Any]) -> bytes:
    """What an engine gave for a tensor. Raises `Stop`."""
    size = _WIDTHS[tensor["type"]]
    for extent in tensor["shape"]:
        size *= extent
    path = folder / raw_name(tensor["name"], tensor["shape"], tensor["type"])
    if not path.is_file():
        raise Stop(MACHINE, f"{path}: trtexec did not write this output; is it older than 10.3, or is the disk full?")
    data = path.read_bytes()
    if len(data) != size:
        raise Stop(MACHINE, f"{path}: {len(data)} bytes, {size} expected; is the disk full?")
    return data


def spikes_in(tensor: dict[str, Any], data: bytes) -> int:
    """How many spikes a tapped tensor holds."""
    if tensor["type"] == "int32":
        return bin(int.from_bytes(data, "little")).count("1")
    return int(sum(array.array("f", data)))


def to_words(tensor: dict[str, Any], data: bytes) -> bytes:
    """Spikes as packed words [levels, T, H, W, ceil(C / 32)], which is how the host compares them."""
    if tensor["type"] == "int32":
        return data
    (steps, channels, height, width), levels = tensor["shape"], tensor["levels"]
    values, space, words = array.array("f", data), height * width, (channels + 31) // 32
    packed = array.array("I", bytes(4 * levels * steps * space * words))
    for index, value in enumerate(values):
        step, channel, position = index // space // channels, index // space % channels, index % space
        for level in range(min(int(value), levels)):
            packed[((level * steps + step) * space + position) * words + channel // 32] |= 1 << channel % 32
    return packed.tobytes()


class Clip:
    """A golden clip through an engine: once, or frame by frame with the state of a stream."""

    def __init__(self, device: Device, clip: dict[str, Any]) -> None:
        self.device = device
        self.check = device.bundle.check
        self.name: str = clip["name"]
        self.expected = clip["steps"]
        self.golden = device.bundle.golden(clip)
        frames = self.golden["frames"][2]
        count = len(self.expected)
        self.frames = [frames[i * len(frames) // count : (i + 1) * len(frames) // count] for i in range(count)]

    def run(self, engine: Path, tensors: Sequence[dict[str, Any]], label: str) -> list[list[bytes]]:
        """What the engine gives for `tensors` in every step."""
        state = [Memory(entry) for entry in self.check["state"]]
        found = []
        for step, frame in enumerate(self.frames):
            inputs = {self.check["frames"]: frame, **{memory.taken: memory.value() for memory in state}}
            folder = self.device.infer(engine, inputs, f"{label}-{step}")
            found.append([read_raw(folder, tensor) for tensor in tensors])
            for memory in state:
                memory.remember(read_raw(folder, memory.given))
        return found


class Memory:
    """A tensor of a stream's state: a membrane, or the sum of the last summaries of an attention."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.taken: str = entry["taken"]
        self.given = {"name": entry["given"], "shape": entry["shape"], "type": "int32"}
        self._window: int = entry["window"]
        size = 1
        for extent in entry["shape"]:
            size *= extent
        self._sum = array.array("i", bytes(4 * size))
        self._kept: list[array.array[int]] = []

    def value(self) -> bytes:
        """What the next step takes."""
        return self._sum.tobytes()

    def remember(self, data: bytes) -> None:
        """Take what a step gave."""
        given = array.array("i", data)
        if not self._window:
            self._sum = given
            return
        self._kept.append(given)
        self._sum = array.array("i", (a + b for a, b in zip(self._sum, given, strict=True)))
        if len(self._kept) == self._window:
            self._sum = array.array("i", (a - b for a, b in zip(self._sum, self._kept.pop(0), strict=True)))


def parity(device: Device, spikes: Path | None) -> dict[str, Any]:
    """Compare every layer's spikes and every output on all golden clips."""
    check = device.bundle.check
    tapped, plain = device.engine(check["tapped"]), device.engine(check["graph"])
    clips: list[dict[str, Any]] = []
    for number, entry in enumerate(check["clips"]):
        clip = Clip(device, entry)
        tell(f"comparing clip '{clip.name}'")
        found = clip.run(tapped["path"], check["taps"], "tapped")
        layers = []
        for index, tap in enumerate(check["taps"]):
            parts = [step[index] for step in found]
            wanted = [step[tap["name"]] for step in clip.expected]
            equal = [hashlib.sha256(part).hexdigest() for part in parts] == wanted
            size = len(parts) * tap["levels"] * tap["size"]
            file = None
            if not equal and spikes is not None:
                file = f"{number}-{index}.words"
                spikes.mkdir(parents=True, exist_ok=True)
                (spikes / file).write_bytes(_join(tap, [to_words(tap, part) for part in parts]))
            fired = sum(spikes_in(tap, part) for part in parts)
            layers.append({"layer": tap["name"], "size": size, "fired": fired, "equal": equal, "spikes": file})
        deployed = clip.run(plain["path"], check["outputs"], "plain")
        outputs = [
            compare_output(output, [step[index] for step in deployed], clip.golden)
            for index, output in enumerate(check["outputs"])
        ]
        clips.append({"clip": clip.name, "layers": layers, "outputs": outputs})
    seen = [[clip["layers"][index] for clip in clips] for index in range(len(check["taps"]))]
    lifeless = [entries[0]["layer"] for entries in seen if all(one["fired"] in (0, one["size"]) for one in entries)]
    equal = all(one["equal"] for entries in seen for one in entries) and not any(
        output["differing"] for clip in clips for output in clip["outputs"]
    )
    verdict = "differs" if not equal else "equal" if 2 * len(lifeless) <= len(seen) else "vacuous"
    runtime = {
        "runtime": "tensorrt",
        "verdict": verdict,
        "clips": clips,
        "lifeless": lifeless,
        "failure": None,
        "reason": None,
        "versions": {"tensorrt": device.version},
    }
    return {"required": ["tensorrt"], "threads": 1, "equal": verdict == "equal", "runtimes": [runtime]}


def _join(tap: dict[str, Any], parts: list[bytes]) -> bytes:
    """Words of several steps as those of one clip: planes stay in front of time."""
    levels = tap["levels"]
    each = [len(part) // levels for part in parts]
    return b"".join(
        part[level * size : (level + 1) * size]
        for level in range(levels)
        for part, size in zip(parts, each, strict=True)
    )


def compare_output(output: dict[str, Any], parts: list[bytes], golden: dict[str, Any]) -> dict[str, Any]:
    """How many values of an output differ, and the first of them."""
    _, shape, data = golden[f"output:{output['name']}"]
    wanted, found = array.array("i", data), array.array("i", b"".join(parts))
    differing = [i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b]
    answer: dict[str, Any] = {"name": output["name"], "compared": len(wanted), "differing": len(differing)}
    if differing:
        at = differing[0]
        index: list[int] = []
        for extent in reversed(shape):
            at, place = divmod(at, extent)
            index.insert(0, place)
        answer.update(index=index, expected=wanted[differing[0]], found=found[differing[0]])
    return answer


def bench(device: Device, runs: int) -> dict[str, Any]:
    """Latency in every mode, after one run whose outputs are held against the golden ones."""
    check = device.bundle.check
    engine = device.engine(check["graph"])
    clip = Clip(device, check["clips"][0])
    deployed = clip.run(engine["path"], check["outputs"], "plain")
    exact = not any(
        compare_output(output, [step[index] for step in deployed], clip.golden)["differing"]
        for index, output in enumerate(check["outputs"])
    )
    modes = []
    for name, options in MODES:
        tell(f"measuring: {name}")
        folder = device.work / "runs" / "bench"
        shutil.rmtree(folder, ignore_errors=True)
        times = folder / "times.json"
        command = [device.trtexec, *bench_options(engine["path"], device.plugin(), runs, times, options)]
        said = device.log(command, folder, MACHINE, f"{engine['path']}: TensorRT could not time it")
        try:
            samples = [entry["latencyMs"] for entry in json.loads(times.read_text())]
        except (OSError, ValueError, KeyError) as error:
            raise Stop(MACHINE, f"{times}: trtexec wrote no times there ({error})") from None
        remarks = [line.split("] ", 1)[-1].strip("* ").strip() for line in said.splitlines() if "] * " in line]
        modes.append({"mode": name, "milliseconds": samples, "remarks": remarks})
    kept = {key: engine[key] for key in ("build_seconds", "engine_bytes", "plugin_layers")}
    return {
        "tensorrt": device.version,
        "gpu": device.gpu,
        "clip": clip.name,
        "runs": runs,
        "expected_plugin_layers": len(check["plugins"]),
        "outputs_exact": exact,
        "modes": modes,
        **kept,
    }


def commands(bundle: Bundle, options: argparse.Namespace) -> str:
    """Every command of a whole run, one a line."""
    work, check = Path(options.work).expanduser().absolute(), bundle.check
    trtexec = options.trtexec or "trtexec"
    library = options.plugin or bundle.plugin() or work / "build" / "libsvf_trt.so"
    lines = (
        [] if options.plugin or bundle.plugin() else plugin_commands(bundle.folder / "tensorrt/source", work / "build")
    )
    for graph in (check["tapped"], check["graph"]):
        engine = work / f"{Path(graph).name}.engine"
        layers = engine.with_suffix(".json")
        model = bundle.folder / graph
        lines.append([trtexec, *engine_options(model, library, check["tf32"], engine, layers)])
        names = [check["frames"], *(entry["taken"] for entry in check["state"])]
        inputs = {name: work / f"input-{index}.raw" for index, name in enumerate(names)}
        lines.append([trtexec, *run_options(engine, library, inputs)])
    for _, mode in MODES:
        lines.append([trtexec, *bench_options(engine, library, options.runs, work / "times.json", mode)])
    return "\n".join(" ".join(line) for line in lines)


def machine() -> dict[str, Any]:
    """This machine, as svf-run describes one."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "platform": platform_name(),
        "cpu": cpu.group(1) if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "system": f"{platform.system()} {platform.release()}",
        "emulated": False,
    }


def main() -> NoReturn:
    """Read the command line, do it, print the document."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="all", choices=("all", "parity", "bench", "commands"))
    parser.add_argument("--work", default=f"{cache}/svf-edge/tensorrt", help="folder for what is built")
    parser.add_argument("--trtexec", help="trtexec's path")
    parser.add_argument("--plugin", help="libsvf_trt.so, instead of the bundle's or one built here")
    parser.add_argument("--runs", type=int, default=200, help="timed runs of each mode")
    parser.add_argument("--spikes", type=Path, help="folder for the words of layers that differ")
    options = parser.parse_args()
    try:
        if options.runs < 1:
            raise Stop(USAGE, f"--runs is {options.runs}; at least 1 is needed")
        bundle = Bundle(Path(__file__).resolve().parents[1])
        if options.task == "commands":
            print(commands(bundle, options))
            sys.exit(0)
        device = Device(bundle, options)
        found: dict[str, Any] = {
            "svf_run": bundle.manifest["svf_edge"],
            "bundle": str(bundle.folder),
            "fingerprint": bundle.fingerprint,
            "machine": machine(),
            "when": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        }
        if options.task in ("all", "parity"):
            found["parity"] = parity(device, options.spikes)
        if options.task in ("all", "bench"):
            found["bench"] = bench(device, options.runs)
    except Stop as stop:
        tell(str(stop))
        sys.exit(stop.code)
    print(json.dumps(found, indent=1))
    good = found.get("parity", {}).get("equal", True) and found.get("bench", {}).get("outputs_exact", True)
    sys.exit(0 if good else DIFFERS)


if __name__ == "__main__":
    main()
