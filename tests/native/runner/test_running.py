"""svf-run against the Python harness: the same verdicts, the same counts, and every kind of failure told apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from svf_edge.errors import BadFile
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.packing import pack_spikes
from svf_edge.program import run
from svf_edge.runtimes.latency import Distribution, Measurement
from svf_edge.runtimes.runner_results import clip_parity
from svf_edge.runtimes.runner_schema import ExitCode, RunnerBench, RunnerParity
from tests.native.runner.support import edit, seal, svf_run
from tests.programs import noise_clip, random_program
from tests.runtimes.bundles import edit_initializer, silent

RUNTIMES = (
    "onnxruntime packed",
    "onnxruntime packed, no library",
    "onnxruntime portable",
    "executorch packed",
    "executorch portable",
)


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def parity(folder: Path, *arguments: object, code: ExitCode = ExitCode.OK) -> RunnerParity:
    done = svf_run("parity", folder, *arguments)
    assert done.returncode == code, done
    found = RunnerParity.model_validate_json(done.stdout)
    assert found.equal == (code == ExitCode.OK)
    return found


def test_every_runtime_is_equal_and_counts_what_the_reference_counts(bundle: Bundle) -> None:
    found = parity(bundle.folder)
    assert [(entry.runtime, entry.verdict) for entry in found.runtimes] == [(name, "equal") for name in RUNTIMES]
    program = bundle.program()
    for entry in found.runtimes:
        for clip in entry.clips:
            trace = run(program, bundle.golden(clip.clip)[0])
            for lif, layer in zip(program.lifs, clip.layers, strict=True):
                spikes = trace.spikes[lif.name]
                assert (layer.layer, layer.equal) == (lif.name, True)
                assert (layer.size, layer.fired) == (spikes.size * lif.levels, int(spikes.sum()))
            for output in clip.outputs:
                assert (output.differing, output.compared) == (0, trace.outputs[output.name].size)


def test_a_layer_that_differs_is_named_and_its_spikes_are_written(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """Another expected digest: the words written are those the runtime made, and still the reference's."""
    lif = bundle.program().lifs[1]

    def change(manifest: dict[str, Any]) -> None:
        manifest["golden"][1]["digests"][lif.name] = "0" * 64

    edit(folder, change)
    arguments = ["--runtime", "executorch packed", "--runtime", "onnxruntime portable", "--spikes", tmp_path / "spikes"]
    done = svf_run("parity", folder, *arguments)
    assert done.returncode == ExitCode.DIFFERS
    assert f"differs first in layer '{lif.name}' on clip 'second'" in done.stderr
    spikes = run(bundle.program(), bundle.golden("second")[0]).spikes[lif.name]
    for entry in RunnerParity.model_validate_json(done.stdout).runtimes:
        assert entry.verdict == "differs"
        (layer,) = [layer for clip in entry.clips for layer in clip.layers if not layer.equal]
        assert layer.layer == lif.name
        words = np.fromfile(tmp_path / "spikes" / str(layer.spikes), "<i4")
        np.testing.assert_array_equal(words, pack_spikes(spikes, lif.levels).ravel())


def test_the_host_finds_the_neuron(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """Another first convolution in the tapped twin: the device says where from the layer on, the host says which."""
    name = "onnx/portable.tap.onnx"

    def change(values: np.ndarray) -> None:
        values[:] = values[::-1].copy()  # other filters for the same channels

    edit_initializer(_weights(folder / name)[0], change)(folder / name)
    seal(folder, name)
    found = parity(folder, "--runtime", "onnxruntime portable", "--spikes", tmp_path / "spikes", code=ExitCode.DIFFERS)
    clip = found.runtimes[0].clips[0]
    compared = clip_parity(bundle, clip, tmp_path / "spikes")
    assert [layer.differing > 0 for layer in compared.layers] == [not layer.equal for layer in clip.layers]
    assert compared.first is not None
    assert compared.first.layer == next(layer.layer for layer in clip.layers if not layer.equal)
    assert compared.first.expected != compared.first.found
    (tmp_path / "spikes" / str(next(layer.spikes for layer in clip.layers if not layer.equal))).unlink()
    with pytest.raises(BadFile, match="cannot be read"):
        clip_parity(bundle, clip, tmp_path / "spikes")


def test_a_wrong_graph_without_taps_is_caught(folder: Path) -> None:
    """Spikes come from the tapped twin, but what is deployed is compared as well."""
    name = next(iter(_weights(folder / "onnx" / "portable.onnx")))

    def change(values: np.ndarray) -> None:
        values += 1

    edit_initializer(name, change)(folder / "onnx" / "portable.onnx")
    seal(folder, "onnx/portable.onnx")
    found = parity(folder, "--runtime", "onnxruntime portable", code=ExitCode.DIFFERS)
    (entry,) = found.runtimes
    assert all(layer.equal for clip in entry.clips for layer in clip.layers)
    assert any(output.differing for clip in entry.clips for output in clip.outputs)


def _weights(path: Path) -> list[str]:
    import onnx

    return [tensor.name for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4]


def test_flipped_bytes_in_a_graph_never_crash_it(folder: Path) -> None:
    """With the manifest forged to fit: a runtime may refuse, differ or die, and svf-run says which."""
    for name, runtime in (("executorch/packed.tap.pte", "executorch packed"), ("onnx/portable.tap.onnx", RUNTIMES[2])):
        path = folder / name
        whole = path.read_bytes()
        for at in (4, 20, len(whole) // 2, len(whole) - 9):
            path.write_bytes(whole[:at] + bytes(byte ^ 0xFF for byte in whole[at : at + 8]) + whole[at + 8 :])
            seal(folder, name)
            done = svf_run("parity", folder, "--runtime", runtime)
            assert done.returncode in (ExitCode.OK, ExitCode.DIFFERS), done
        path.write_bytes(whole)
        seal(folder, name)


def test_libraries_that_are_missing_are_named_with_the_fix(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(libraries=[]))
    done = svf_run("parity", folder, "--runtime", "executorch packed")
    assert done.returncode == ExitCode.MISSING_LIBRARY
    assert "holds the operator library 'svf_core' for no platform, not for linux-" in done.stderr
    edit(folder, lambda manifest: manifest.update(artefacts=[]))
    done = svf_run("parity", folder)
    assert done.returncode == ExitCode.MISSING_LIBRARY
    assert "the bundle has no packed graph" in done.stderr


def test_a_library_that_is_none_is_named(folder: Path) -> None:
    (entry,) = folder.glob("lib/*/libsvf_executorch.so")
    entry.write_bytes(b"\x7fELF and nothing more")
    seal(folder, entry.relative_to(folder).as_posix())
    done = svf_run("parity", folder, "--runtime", "executorch packed")
    assert done.returncode == ExitCode.MISSING_LIBRARY
    assert "'svf_executorch' cannot be loaded" in done.stderr


def test_a_silent_network_proves_nothing(tmp_path: Path) -> None:
    program = silent(random_program(3))
    made = write_bundle(program, tmp_path / "bundle", {"golden": noise_clip(program)}, targets=("onnx",))
    (entry,) = parity(made.folder, "--runtime", "onnxruntime packed", code=ExitCode.DIFFERS).runtimes
    assert entry.verdict == "vacuous"
    assert len(entry.lifeless) == len(program.lifs)


def test_without_golden_vectors_there_is_nothing_to_compare(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(golden=[]))
    done = svf_run("parity", folder)
    assert done.returncode == ExitCode.BAD_BUNDLE
    assert "holds no golden vector" in done.stderr


def test_bench_measures_as_the_python_harness_judges(bundle: Bundle) -> None:
    done = svf_run("bench", bundle.folder, "--runs", 40, "--warm-up", 1, "--runtime", "executorch packed")
    assert done.returncode == ExitCode.OK, done
    found = RunnerBench.model_validate_json(done.stdout)
    (variant,) = found.variants
    assert variant.measurement is not None and variant.measurement.timing is not None
    timing = variant.measurement.timing
    samples = [sample for part in timing.rounds for sample in part]
    assert [len(part) for part in timing.rounds] == [8] * 5
    for name, value in Distribution.of(samples):
        assert getattr(timing.distribution, name) == pytest.approx(value)
    judged = Measurement(
        import_ms=timing.library_ms,
        load_ms=timing.load_ms,
        first_run_ms=timing.first_run_ms,
        rounds=timing.rounds,
        clocks_mhz=timing.clocks_mhz,
        file_bytes=variant.measurement.file_bytes,
        memory_before_load=variant.measurement.memory_before_load,
        peak_memory=variant.measurement.peak_memory,
        outputs_exact=True,
        versions=variant.measurement.versions,
    ).judgement
    assert (timing.judgement, timing.remarks) == judged
    parts = timing.open_ms + timing.library_ms + timing.load_ms + timing.first_run_ms
    assert timing.first_pose_ms == pytest.approx(parts)
    assert variant.measurement.file_bytes == (bundle.folder / "executorch" / "packed.pte").stat().st_size


def test_an_emulator_is_not_timed(bundle: Bundle) -> None:
    done = svf_run("bench", bundle.folder, "--emulated")
    assert done.returncode == ExitCode.OK, done
    found = RunnerBench.model_validate_json(done.stdout)
    assert found.machine.emulated
    assert [variant.measurement and variant.measurement.timing for variant in found.variants] == [None] * len(RUNTIMES)
    assert all(variant.measurement and variant.measurement.outputs_exact for variant in found.variants)
