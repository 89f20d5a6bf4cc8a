"""`svf-run profile`: every operator by the runtime's own profiler, joined with the layers of the program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from svf_edge.export.bundle import Bundle
from svf_edge.export.fusion import AttentionLif, ConvLif, fuse
from svf_edge.program import Attention, Conv
from svf_edge.runtimes.layers import layer_times
from svf_edge.runtimes.runner_schema import ExitCode, RunnerOperator, RunnerProfile
from tests.native.runner.support import svf_run

RUNTIMES = ("onnxruntime packed", "onnxruntime portable", "executorch packed", "executorch portable")
RUNS = 4


def profile(bundle: Bundle, traces: Path, *arguments: object) -> dict[str, tuple[RunnerOperator, ...]]:
    runtimes = [part for name in RUNTIMES for part in ("--runtime", name)]
    done = svf_run("profile", bundle.folder, "--traces", traces, "--runs", RUNS, "--warm-up", 2, *runtimes, *arguments)
    assert done.returncode == ExitCode.OK, done
    found = RunnerProfile.model_validate_json(done.stdout)
    assert [entry.runtime for entry in found.variants] == list(RUNTIMES)
    assert all(entry.profile is not None and entry.profile.outputs_exact for entry in found.variants)
    return {entry.runtime: entry.profile.operators for entry in found.variants if entry.profile is not None}


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile") / "traces"


@pytest.fixture(scope="module")
def operators(bundle: Bundle, traces: Path) -> dict[str, tuple[RunnerOperator, ...]]:
    return profile(bundle, traces)


def test_every_operator_is_timed_in_every_run(operators: dict[str, tuple[RunnerOperator, ...]]) -> None:
    for runtime, found in operators.items():
        assert all(len(operator.milliseconds) == RUNS and operator.kind for operator in found), runtime
        assert all(min(operator.milliseconds) >= 0 for operator in found), runtime
    assert not any(operator.part for operator in operators["executorch packed"])
    assert sum(operator.part for operator in operators["executorch portable"]) > len(operators["executorch packed"])


def test_operators_are_joined_with_layers(bundle: Bundle, operators: dict[str, tuple[RunnerOperator, ...]]) -> None:
    program = bundle.program()
    steps = fuse(program)
    nodes = [step.nodes if isinstance(step, ConvLif | AttentionLif) else (step,) for step in steps]
    for runtime, found in operators.items():
        joined = layer_times(program, runtime, found)
        assert joined is not None
        wanted = [index for index, inside in enumerate(nodes) if isinstance(inside[0], (Conv, Attention))]
        assert [layer.step for layer in joined.layers] == wanted, runtime
        assert [layer.layer for layer in joined.layers] == [nodes[index][-1].name for index in wanted]
        assert joined.total >= sum(layer.milliseconds for layer in joined.layers) > 0
    by_name = {operator.node: operator for operator in operators["onnxruntime packed"]}
    in_order = [operator for operator in operators["executorch packed"] if operator.kind.startswith("svf::")][1:]
    for index, operator in zip(wanted, in_order, strict=True):  # two runtimes agree on what a layer computes
        assert by_name[nodes[index][-1].name].kind.startswith(
            {"svf::hamming_attention_lif.out": "HammingAttentionLif"}.get(operator.kind, "")
            or ("SpikeConv2d" if "spike" in operator.kind else "IntConv2d")
        )


def test_numbers_that_do_not_match_are_not_joined(
    bundle: Bundle, operators: dict[str, tuple[RunnerOperator, ...]]
) -> None:
    for runtime in ("executorch packed", "executorch portable"):
        found = operators[runtime]
        gone = next(
            index
            for index, operator in enumerate(found)
            if operator.kind.startswith(("svf::spike_conv2d", "Convolution "))
        )
        joined = layer_times(bundle.program(), runtime, found[:gone] + found[gone + 1 :])
        assert joined is not None and joined.layers == () and joined.other == joined.total > 0


def test_the_etdump_is_one_that_executorch_reads(
    traces: Path, operators: dict[str, tuple[RunnerOperator, ...]]
) -> None:
    """The times told are those of the dump: the same calls in the same order, within microseconds."""
    from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc

    dump = deserialize_from_etdump_flatcc((traces / "executorch-packed.etdump").read_bytes())
    runs = [block for block in dump.run_data if block.name == "Execute"]
    assert len(runs) == 2 + RUNS
    apart = []
    for number, run in enumerate(runs[2:]):
        calls = [event.profile_event for event in run.events if event.profile_event is not None]
        calls = [call for call in calls if call.name == "OPERATOR_CALL"]
        found = operators["executorch packed"]
        assert [call.instruction_id for call in calls] == [operator.index for operator in found]
        for call, operator in zip(calls, found, strict=True):
            apart.append(abs(operator.milliseconds[number] - (call.end_time - call.start_time) / 1e6))
    assert np.median(apart) < 0.005


def test_an_emulator_has_no_times(bundle: Bundle, tmp_path: Path) -> None:
    for runtime, found in profile(bundle, tmp_path / "traces", "--emulated").items():
        assert found and not any(operator.milliseconds for operator in found)
        assert layer_times(bundle.program(), runtime, found) is None


def test_a_folder_that_cannot_be_made_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = svf_run("profile", bundle.folder, "--traces", tmp_path / "file" / "traces")
    assert done.returncode == ExitCode.MACHINE and "file/traces: cannot be made" in done.stderr
