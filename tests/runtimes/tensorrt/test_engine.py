"""Engines of the qdq graph: built by the TensorRT at hand, which on a machine without a GPU is TensorRT-RTX."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from svf_edge.errors import BadFile, MissingLibrary, MissingPackage, SvfError
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.export.libraries import find_library
from svf_edge.export.tensorrt import export_tensorrt, plugin_layers, qdq_model
from svf_edge.packing import pack_spikes
from svf_edge.program import Attention, Program, load_program, run
from svf_edge.program.ir import Scope
from svf_edge.runtimes.tensorrt import TensorRT, TensorRTReport, tensorrt_report
from svf_edge.runtimes.tensorrt.engine import Engine, build_engine, find_package, unable_to_run, unfit
from tests.every_head import every_head
from tests.export.test_onnx import VARIANTS
from tests.programs import noise_clip, random_program
from tests.trained import TRAINED


@pytest.fixture(scope="module")
def package() -> str:
    try:
        return find_package()
    except MissingPackage as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def library() -> Path:
    try:
        return find_library("svf_trt")
    except MissingLibrary as error:
        pytest.skip(f"the plug-in was not built, which needs nvcc and TensorRT's headers: {error}")


def build(program: Program, library: Path, folder: Path) -> Engine:
    export_tensorrt(program, folder / "qdq.onnx")
    return build_engine(folder / "qdq.onnx", library, plugin_layers(program), folder / "engines")


def save_changed(program: Program, path: Path, **attributes: Any) -> Path:
    """The qdq graph of `program` with fields or attributes of its plug-in node replaced."""
    model = qdq_model(program)
    (node,) = [node for node in model.graph.node if node.name == "attn:o"]
    for key, value in attributes.items():
        if key == "op_type":
            node.op_type = value
        else:
            next(a for a in node.attribute if a.name == key).i = value
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "variant",
    [
        "plain",
        "temporal",
        "soft reset, spatial",
        "dot, head width 45",
        "events",
        "three levels, soft reset",
        "four levels, dot, temporal",
    ],
)
def test_the_engine_has_exactly_the_plugin_layers(package: str, library: Path, tmp_path: Path, variant: str) -> None:
    program = random_program(**VARIANTS[variant])
    engine = build(program, library, tmp_path)
    assert engine.plugin_layers == tuple(plugin_layers(program)) and "attn:o" in engine.plugin_layers
    plan = engine.path.read_bytes()
    assert (b"DotAttention" if "dot" in variant else b"HammingAttention") in plan
    assert b"LifSpikes" in plan and b"LifWords" in plan


def test_an_engine_is_built_once(package: str, library: Path, tmp_path: Path) -> None:
    program = random_program(channels=24, heads=3, steps=1)
    first = build(program, library, tmp_path)
    written = first.path.stat().st_mtime_ns
    assert build(program, library, tmp_path) == first
    assert first.path.stat().st_mtime_ns == written
    for damaged in (b"{", b"\xff", b"[]"):  # a cache is built anew
        first.path.with_suffix(".json").write_bytes(damaged)
        rebuilt = build(program, library, tmp_path)
        assert rebuilt.model_copy(update={"build_seconds": first.build_seconds}) == first
    other = build(random_program(1, channels=24, heads=3, steps=1), library, tmp_path)
    assert other.path != first.path


def test_without_the_plugin_library(package: str, tmp_path: Path) -> None:
    export_tensorrt(random_program(), tmp_path / "qdq.onnx")
    with pytest.raises(MissingLibrary, match=r"none\.so: not found; export the bundle again"):
        build_engine(tmp_path / "qdq.onnx", tmp_path / "none.so", {}, tmp_path)


def test_a_library_that_is_none(package: str, tmp_path: Path) -> None:
    export_tensorrt(random_program(), tmp_path / "qdq.onnx")
    (tmp_path / "text.so").write_text("not a library")
    with pytest.raises(MissingLibrary, match=r"text\.so: TensorRT .* cannot load this plug-in library"):
        build_engine(tmp_path / "qdq.onnx", tmp_path / "text.so", {}, tmp_path / "engines")
    assert not list((tmp_path / "engines").iterdir())


def test_a_library_that_aborts_takes_only_the_worker_down(package: str, tmp_path: Path) -> None:
    source, aborting = tmp_path / "abort.c", tmp_path / "abort.so"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void start(void) { abort(); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(aborting)], check=True)
    export_tensorrt(random_program(), tmp_path / "qdq.onnx")
    with pytest.raises(SvfError, match=r"qdq\.onnx: TensorRT.* ended with status -6"):
        build_engine(tmp_path / "qdq.onnx", aborting, {}, tmp_path)


def test_a_truncated_graph(package: str, library: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(qdq_model(random_program()).SerializeToString()[:3000])
    with pytest.raises(BadFile, match=r"cut\.onnx: TensorRT .* refuses this graph"):
        build_engine(tmp_path / "cut.onnx", library, {}, tmp_path)


def test_a_plugin_that_no_library_has(package: str, library: Path, tmp_path: Path) -> None:
    path = save_changed(random_program(), tmp_path / "foreign.onnx", op_type="FutureAttention")
    with pytest.raises(BadFile, match=r"refuses this graph \(.*Plugin not found"):
        build_engine(path, library, {}, tmp_path)


def test_the_plugin_says_what_is_wrong(package: str, library: Path, tmp_path: Path) -> None:
    path = save_changed(random_program(), tmp_path / "heads.onnx", heads=7)
    with pytest.raises(BadFile, match="layer 'attn:o' has channels = 40, heads = 7; heads must divide channels"):
        build_engine(path, library, {}, tmp_path)


def test_other_plugin_layers_than_the_program_has(package: str, library: Path, tmp_path: Path) -> None:
    export_tensorrt(random_program(), tmp_path / "qdq.onnx")
    expected = plugin_layers(random_program())
    o = expected.pop("attn:o")
    with pytest.raises(BadFile, match=r"has the plug-in layers \['attn.lif:int8', .*'attn:o', .*the program has"):
        build_engine(tmp_path / "qdq.onnx", library, expected, tmp_path)
    with pytest.raises(BadFile, match=r"'attn:o' gives INT32 \[1, 24, 40\], the program INT32 \[1, 24, 41\]"):
        build_engine(tmp_path / "qdq.onnx", library, {**expected, "attn:o": ("INT32 [1, 24, 41]",)}, tmp_path)
    assert o == ("INT32 [1, 24, 40]",)


def test_a_tensorrt_that_is_too_old() -> None:
    assert unfit("tensorrt", "10.0.1") == "TensorRT 10.0.1 is too old; the plug-ins need 10.3 (JetPack 6) or newer"
    assert unfit("tensorrt", "8.6.1.post1") is not None
    assert unfit("tensorrt", "10.3.0") is None and unfit("tensorrt", "11.1.0.5") is None
    assert unfit("tensorrt_rtx_bindings", "1.7.1.116") is None


@pytest.mark.parametrize("scope", ["spatial", "causal"])
def test_the_engine_of_a_step(package: str, library: Path, tmp_path: Path, scope: Scope) -> None:
    program = random_program(steps=1, scope=scope, window=3 * (scope == "causal"), levels=2)
    export_tensorrt(program, tmp_path / "qdq.onnx", stream=True, taps=True)
    expected = plugin_layers(program, stream=True)
    engine = build_engine(tmp_path / "qdq.onnx", library, expected, tmp_path / "engines")
    assert engine.plugin_layers == tuple(expected)
    assert b"LifWordsFrom" in engine.path.read_bytes()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(partial(every_head, "tiny", frames=2, frame_size=(32, 48), levels=3), id="tiny"),
        pytest.param(partial(every_head, "15M", frames=1, frame_size=(32, 48)), id="15M"),
        pytest.param(partial(every_head, "31M", frames=1, frame_size=(32, 48)), id="31M", marks=pytest.mark.exhaustive),
        pytest.param(partial(every_head, "55M", frames=1, frame_size=(32, 48)), id="55M", marks=pytest.mark.exhaustive),
        *(pytest.param(partial(load_program, TRAINED[name]), id=name) for name in list(TRAINED)[1:]),
    ],
)
def test_networks_of_every_task(package: str, library: Path, tmp_path: Path, make: Callable[[], Program]) -> None:
    program = make()
    attentions = sum(isinstance(node, Attention) for node in program.nodes)
    engine = build(program, library, tmp_path)
    assert attentions > 0 and len(engine.plugin_layers) == len(program.lifs) + attentions


@pytest.fixture(scope="module")
def bundle(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    program = random_program()
    folder = tmp_path_factory.mktemp("tensorrt") / "bundle"
    write_bundle(program, folder, {"noise": noise_clip(program)}, targets=["tensorrt"])
    return Bundle.open(folder)


def test_report_of_a_bundle(package: str, bundle: Bundle, tmp_path: Path) -> None:
    report = tensorrt_report(bundle, tmp_path)
    assert report
    assert report.expected_plugin_layers == len(report.plugin_layers) > 1
    assert report.engine_bytes > 0
    assert TensorRTReport.model_validate_json(report.model_dump_json()) == report
    reason = unable_to_run(package)
    assert (report.ran, report.reason) == (reason is None, reason)
    assert TensorRT().available(bundle) == reason
    if reason is not None:
        assert reason.startswith("needs ")
        assert f"not run: {reason}" in str(report)


@pytest.mark.hardware
def test_spikes_on_a_gpu(package: str, bundle: Bundle) -> None:
    reason = unable_to_run(package)
    if reason is not None:
        pytest.skip(reason)
    program = bundle.program()
    clip = noise_clip(program, 3)
    trace = run(program, clip)
    with TensorRT().open(bundle, taps=True) as session:
        found = session.run(clip)
    for layer, spikes in trace.spikes.items():
        assert (found.spikes[layer] == pack_spikes(spikes)).all(), layer
    assert (found.outputs["logits"] == trace.outputs["logits"]).all()
