"""The script that a bundle brings to a device, with a stand-in for trtexec; TensorRT itself is not seen here."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.export.tensorrt import run as script
from svf_edge.program import run
from svf_edge.runtimes.runner_results import clip_parity
from svf_edge.runtimes.runner_schema import ExitCode, RunnerClip, RunnerParity
from tests.programs import assert_not_silent, noise_clip, random_program
from tests.runtimes.tensorrt.trtexec import place_fake_trtexec

FORMS = {
    "clip": {"levels": 3, "reset": "soft", "channels": 16, "heads": 2},
    "stream": {"steps": 3, "channels": 16, "heads": 2, "scope": "causal", "window": 2},
}


@pytest.fixture(scope="module", params=FORMS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options: dict[str, Any] = FORMS[request.param]
    program = random_program(4, **options)
    clips = {"noise": noise_clip(program, 1)}
    for clip in clips.values():
        assert_not_silent(run(program, clip).spikes)
    folder = tmp_path_factory.mktemp(request.param) / "bundle"
    return write_bundle(program, folder, clips, form=request.param, targets=["tensorrt"])


@pytest.fixture(scope="module")
def clip_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    program = random_program(4, channels=16, heads=2)
    folder = tmp_path_factory.mktemp("clip") / "bundle"
    return write_bundle(program, folder, {"noise": noise_clip(program, 1)}, targets=["tensorrt"])


class Device:
    """A folder with the stand-in, and calls of a bundle's script there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin = folder / "libsvf_trt.so"
        folder.mkdir(exist_ok=True)
        self.plugin.write_bytes(b"the stand-in does not open it")

    def __call__(
        self, bundle: Bundle, *arguments: str, fault: str = "", tools: Path | None = None
    ) -> tuple[int, dict[str, Any], str]:
        """Exit code, document, standard error."""
        place_fake_trtexec(self.folder / "bin")
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(tools or self.folder / "bin"), "/usr/bin", "/bin"]),
            "SVF_FAKE_TRTEXEC": fault,
        }
        command = [sys.executable, str(bundle.folder / "tensorrt/run.py"), *arguments]
        command += ["--work", str(self.folder / "work"), "--plugin", str(self.plugin)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "device")


def test_every_layer_of_every_clip_is_compared(bundle: Bundle, device: Device) -> None:
    code, found, said = device(bundle, "parity")
    assert code == ExitCode.OK, said
    shared = {key: found[key] for key in ("svf_run", "bundle", "fingerprint", "machine")}
    result = RunnerParity.model_validate({**shared, **found["parity"]})
    (runtime,) = result.runtimes
    assert result.equal and runtime.verdict == "equal" and runtime.lifeless == ()
    program = bundle.program()
    assert [clip.clip for clip in runtime.clips] == ["noise"]
    for clip in runtime.clips:
        frames, outputs = bundle.golden(clip.clip)
        trace = run(program, frames)
        assert {layer.layer: layer.fired for layer in clip.layers} == {
            name: int(values.sum()) for name, values in trace.spikes.items()
        }
        assert all(layer.equal and layer.size == trace.spikes[layer.layer].size * lif.levels
                   for layer, lif in zip(clip.layers, program.lifs, strict=True))  # fmt: skip
        assert [output.compared for output in clip.outputs] == [outputs["logits"].size]


@pytest.mark.parametrize("layer", ["down.lif", "k.lif"])  # int8 spikes and words
def test_a_flipped_spike_is_found_and_addressed(
    clip_bundle: Bundle, device: Device, tmp_path: Path, layer: str
) -> None:
    spikes = tmp_path / "spikes"
    code, found, said = device(clip_bundle, "parity", "--spikes", str(spikes), fault=f"flip {layer}")
    assert code == ExitCode.DIFFERS, said
    clip = RunnerClip.model_validate(found["parity"]["runtimes"][0]["clips"][0])
    assert [entry.layer for entry in clip.layers if not entry.equal] == [layer]
    first = clip_parity(clip_bundle, clip, spikes).first
    assert first is not None
    assert (first.layer, first.t, first.channel, first.y, first.x) == (layer, 0, 0, 0, 0)


def test_a_wrong_output_is_found(clip_bundle: Bundle, device: Device) -> None:
    code, found, _ = device(clip_bundle, "parity", fault="flip logits")
    assert code == ExitCode.DIFFERS
    (output,) = found["parity"]["runtimes"][0]["clips"][0]["outputs"]
    assert (output["differing"], output["index"]) == (1, [0, 0, 0, 0])


def test_times_in_every_mode_and_engines_built_once(clip_bundle: Bundle, device: Device) -> None:
    code, found, said = device(clip_bundle, "bench", "--runs", "7")
    assert code == ExitCode.OK and "building the engine of tensorrt/qdq.onnx" in said
    measured = found["bench"]
    medians = {mode["mode"]: mode["milliseconds"][3] for mode in measured["modes"]}
    assert medians == {
        "transfers": 1.753,
        "transfers, CUDA graph": 1.253,
        "no transfers": 1.503,
        "no transfers, CUDA graph": 1.003,
    }
    assert measured["modes"][0]["remarks"] == ["GPU compute time is unstable, with coefficient of variance = 3%."]
    assert measured["outputs_exact"] and measured["tensorrt"] == "10.3.0"
    assert len(measured["plugin_layers"]) == measured["expected_plugin_layers"] > 0
    code, again, said = device(clip_bundle, "bench", "--runs", "7")
    assert code == ExitCode.OK and "building" not in said
    assert again["bench"]["build_seconds"] == measured["build_seconds"]
    code, _, said = device(clip_bundle, "bench", "--runs", "7", fault="version 101302")
    assert code == ExitCode.OK and "building" in said, "another TensorRT needs another engine"


FAULTS = {
    "version 100001": "TensorRT 10.0.1 is too old; the plug-ins need 10.3 (JetPack 6) or newer",
    "version 8601": "TensorRT 8.6.1 is too old",
    "log Plugin not found, are the plugin name, version, and namespace correct?": "a plug-in is missing",
    "log The engine plan file is not compatible with this version of TensorRT, expecting library version 10.3.0":
        "the engine was built by another version of TensorRT",
    "log The engine plan file is generated on an incompatible device, expecting compute 8.7 got compute 9.0":
        "the engine was built for another GPU",
    "log Parameter check failed, condition: engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting":
        "a tensor has another shape than the engine was built for",
    "log Cuda failure: no CUDA-capable device is detected": "no NVIDIA GPU can be used",
    "log Requested amount of GPU memory could not be allocated: out of memory": "the GPU's memory does not suffice",
    "log Something that nobody has seen yet": "TensorRT says: [E] Something that nobody has seen yet",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_is_one_sentence(clip_bundle: Bundle, device: Device, fault: str) -> None:
    code, found, said = device(clip_bundle, fault=fault)
    assert code == ExitCode.MACHINE and not found
    last = said.strip().splitlines()[-1]
    assert last.startswith("run.py: ") and FAULTS[fault] in last


def test_without_trtexec(clip_bundle: Bundle, device: Device, tmp_path: Path) -> None:
    code, found, said = device(clip_bundle, tools=tmp_path)
    assert (code, found) == (ExitCode.MACHINE, {})
    assert said.startswith("run.py: trtexec was not found (looked in: PATH, /usr/src/tensorrt/bin")
    assert "install TensorRT 10.3 or newer" in said and said.count("\n") == 1


def test_without_a_plugin(clip_bundle: Bundle, device: Device) -> None:
    device.plugin.unlink()
    code, _, said = device(clip_bundle)
    assert code == ExitCode.MISSING_LIBRARY and "libsvf_trt.so: not found; name the library" in said


def test_a_damaged_bundle(clip_bundle: Bundle, device: Device, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clip_bundle.folder, copy)
    with (copy / "tensorrt/qdq.onnx").open("ab") as file:
        file.write(b"x")
    code, _, said = device(Bundle(copy, clip_bundle.manifest), "bench")
    assert code == ExitCode.BAD_BUNDLE and "qdq.onnx: is missing or differs from the manifest" in said


def test_it_needs_nothing_but_an_older_python() -> None:
    path = Path(script.__file__)
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


def test_the_plugins_sources_are_whole(clip_bundle: Bundle) -> None:
    """Every header and source that the bundle's own files name is there, where its CMake files look for it."""
    root = clip_bundle.folder / "tensorrt/source"
    files = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
    assert {"tensorrt/CMakeLists.txt", "cuda/CMakeLists.txt", "tensorrt/exports.map", "core/checks.cpp"} <= files.keys()
    names = {name.rpartition("/")[2] for name in files}
    included = {name for text in files.values() for name in re.findall(r'^ *#include "([^"]+)"', text, re.MULTILINE)}
    assert included - names <= {"shim.h"}, "the shim is the tests' own"
    libraries = "".join(text for name, text in files.items() if name.endswith("CMakeLists.txt"))
    assert set(re.findall(r"[a-z_]+\.(?:cu|cpp)", libraries)) <= names
    assert all((root / part / "toolkit.cmake").is_file() for part in ("tensorrt", "cuda"))


def test_the_commands_are_told(clip_bundle: Bundle, device: Device) -> None:
    done = subprocess.run(
        [sys.executable, str(clip_bundle.folder / "tensorrt/run.py"), "commands", "--plugin", "/p/libsvf_trt.so"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert line.startswith("trtexec ") and "--dynamicPlugins=/p/libsvf_trt.so" in line
    assert "--stronglyTyped" in lines[0] and "--noTF32" not in lines[0], "TF32 is exact in this graph"


def test_digests_are_those_of_the_manifest_where_taps_are_words(clip_bundle: Bundle) -> None:
    check = json.loads((clip_bundle.folder / "tensorrt/check.json").read_text())
    (golden,) = clip_bundle.manifest.golden
    words = {tap["name"] for tap in check["taps"] if tap["type"] == "int32"}
    assert words == {"q.lif", "k.lif", "v.lif"}
    (steps,) = check["clips"][0]["steps"]
    assert {layer: golden.digests[layer] for layer in words} == {layer: steps[layer] for layer in words}
