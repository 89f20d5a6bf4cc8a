"""The plug-ins as TensorRT sees them, and faults put into them: every one is caught before an engine runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from svf_edge.errors import MissingPackage, SvfError
from svf_edge.export.tensorrt import export_tensorrt, plugin_layers
from svf_edge.program import Program
from svf_edge.runtimes.tensorrt.engine import build_engine, find_package
from tests.programs import random_program
from tests.runtimes.tensorrt.builds import HERE, NATIVE, SOURCES, compile_object, compile_program, link


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources as they are, compiled, and what stands in for the kernels."""
    folder = tmp_path_factory.mktemp("objects")
    files = [NATIVE / "tensorrt" / name for name in SOURCES] + [HERE / "no_kernels.cpp"]
    return {file.name: compile_object(file, folder / f"{file.stem}.o") for file in files}


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """What `check_plugins` finds wrong with a library, or ""."""
    program = compile_program(HERE / "check_plugins.cpp", tmp_path_factory.mktemp("check") / "check_plugins")

    def run(library: Path) -> str:
        done = subprocess.run([program, library], capture_output=True, text=True, check=False)
        assert done.returncode == (0 if done.stdout.strip().endswith(" 0 wrong") else 1), done.stdout
        return "" if done.returncode == 0 else done.stdout

    return run


@pytest.fixture(scope="module")
def program() -> Program:
    """It has every plug-in that a step has, and a LIF whose words need more than one word and plane."""
    return random_program(steps=1, scope="causal", window=3, levels=2)


def faulty(objects: dict[str, Path], folder: Path, file: str, sound: str, broken: str) -> Path:
    """The library with one expression of one file replaced."""
    text = (NATIVE / "tensorrt" / file).read_text()
    assert text.count(sound) == 1, f"{file} has '{sound}' {text.count(sound)} times"
    changed = folder / file
    changed.write_text(text.replace(sound, broken))
    parts = objects | {file: compile_object(changed, folder / "changed.o")}
    return link(list(parts.values()), folder / "libfaulty.so")


def build(program: Program, library: Path, folder: Path) -> None:
    export_tensorrt(program, folder / "qdq.onnx", stream=True)
    build_engine(folder / "qdq.onnx", library, plugin_layers(program, stream=True), folder / "engines")


@pytest.fixture
def needs_tensorrt() -> None:
    try:
        find_package()
    except MissingPackage as error:
        pytest.skip(str(error))


def test_sound_plugins_pass(
    needs_tensorrt: None, objects: dict[str, Path], check: Callable[[Path], str], program: Program, tmp_path: Path
) -> None:
    library = link(list(objects.values()), tmp_path / "libsound.so")
    assert check(library) == ""
    build(program, library, tmp_path)


@dataclass(frozen=True)
class Fault:
    """An expression of a source file, what replaces it, and how it is noticed."""

    file: str
    sound: str
    broken: str
    noticed: str


IN_BUILDS = {
    "attention's type": Fault(
        "attention_plugin.cpp",
        "Operator op{name, {words, words, words}, {DataType::kINT32}",
        "Operator op{name, {words, words, words}, {DataType::kFLOAT}",
        r"its plug-in layer 'attn:o' gives FLOAT \[1, 12, 40\].*, the program INT32 \[1, 12, 40\]",
    ),
    "attention's shape": Fault(
        "attention_plugin.cpp",
        "outputs[0].d[1] = inputs[0].d[first + 1];",
        "outputs[0].d[1] = inputs[0].d[first];",
        r"refuses this graph .*\[1,1,40\] to \[1,12,40\]",
    ),
    "the summary's shape": Fault(
        "attention_plugin.cpp",
        "outputs[1].d[0] = builder.constant(value(kHeads));",
        "outputs[1].d[0] = builder.constant(1);",
        r"its plug-in layer 'attn:o' gives .*INT32 \[1, 10, 10\], the program .*INT32 \[4, 10, 10\]",
    ),
    "the type of spikes": Fault(
        "lif_plugin.cpp",
        "{kPacks ? DataType::kINT32 : DataType::kINT8}",
        "{DataType::kINT32}",
        "refuses this graph .*input has type Int32",
    ),
    "the shape of words": Fault(
        "lif_plugin.cpp",
        "DimensionOperation::kCEIL_DIV",
        "DimensionOperation::kFLOOR_DIV",
        r"refuses this graph .*\[2,1,4,3,1\] to \[2,1,12,2\]",
    ),
    "the planes of words": Fault(
        "lif_plugin.cpp",
        "if (value(kLevels) > 1) spikes.d",
        "if (false) spikes.d",
        r"refuses this graph .*\[1,4,3,2\] to \[2,1,12,2\]",
    ),
    "the membranes' shape": Fault(
        "lif_plugin.cpp",
        "outputs[1].d[axis - 1] = x.d[axis];",
        "outputs[1].d[axis - 1] = x.d[1];",
        r"gives INT8 \[1, 20, 7, 5\], INT32 \[20, 20, 20\], the program .*INT32 \[20, 7, 5\]",
    ),
    "formats": Fault(
        "plugin.cpp",
        "if (tensor.format != nvinfer1::TensorFormat::kLINEAR) return false;",
        "return false;",
        "could not build the engine .*Failed to find any supported plugin",
    ),
    "the number of outputs": Fault(
        "plugin.cpp",
        "if (output_count != getNbOutputs()) return -1;",
        "return -1;",
        "refuses this graph .*getOutputDataTypes",
    ),
}


@pytest.mark.parametrize("name", IN_BUILDS)
def test_a_fault_stops_the_build_of_an_engine(
    needs_tensorrt: None, objects: dict[str, Path], program: Program, tmp_path: Path, name: str
) -> None:
    fault = IN_BUILDS[name]
    library = faulty(objects, tmp_path, fault.file, fault.sound, fault.broken)
    with pytest.raises(SvfError, match=fault.noticed):
        build(program, library, tmp_path)


IN_CHECKS = {
    "what is stored": Fault(
        "plugin.cpp",
        "fields.emplace_back(op.attributes[i], data,",
        "fields.emplace_back(op.attributes[0], data,",
        "stores other fields than it was made of",
    ),
    "a value lost": Fault("plugin.cpp", "values->data() + i;", "values->data();", "stores other fields"),
    "a wide attribute cut off": Fault(
        "plugin.cpp",
        "return value < INT32_MIN || value > INT32_MAX ? 0 : static_cast<int32_t>(value);",
        "return static_cast<int32_t>(value) + (value > INT32_MAX ? 1 : 0);",
        "takes attributes that make no sense",
    ),
    "formats of other layouts": Fault(
        "plugin.cpp", "if (tensor.format != nvinfer1::TensorFormat::kLINEAR) return false;", "", "takes another format"
    ),
    "any type": Fault("plugin.cpp", "!= types.end();\n}", "!= types.end() || true;\n}", "takes half"),
    "attention of any shape": Fault(
        "attention_plugin.cpp", "if (!good) {", "if (!good && false) {", "Attention: takes a shape that does not fit"
    ),
    "any summaries": Fault(
        "attention_plugin.cpp",
        "if (kForm != Form::kStep) return \"\";",
        "return \"\";",
        "AttentionStep: takes a shape that does not fit input 3",
    ),
    "a LIF of any channels": Fault(
        "lif_plugin.cpp",
        "if (!has_shape(inputs[i].dims, {x.d[1]}))",
        "if (inputs[i].dims.nbDims == 9)",
        "Lif.*: takes a shape that does not fit input 1",
    ),
    "a LIF of any membranes": Fault(
        "lif_plugin.cpp",
        "if (kStream && !has_shape(",
        "if (false && !has_shape(",
        "From: takes a shape that does not fit input 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_CHECKS)
def test_a_fault_is_found_without_tensorrt(
    objects: dict[str, Path], check: Callable[[Path], str], tmp_path: Path, name: str
) -> None:
    fault = IN_CHECKS[name]
    library = faulty(objects, tmp_path, fault.file, fault.sound, fault.broken)
    assert re.search(fault.noticed, check(library))
