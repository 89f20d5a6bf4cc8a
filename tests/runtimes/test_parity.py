from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import svf_edge
from svf_edge.errors import BadFile, MissingLibrary, SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.export.bundled_program import write_bundled_program
from svf_edge.packing import pack_spikes
from svf_edge.program import Program, run
from svf_edge.runtimes.base import RunResult
from svf_edge.runtimes.clips import GENERATORS, load_clips
from svf_edge.runtimes.parity import ParityReport, compare, run_parity
from svf_edge.runtimes.registry import RUNTIMES, find_runtime
from tests.programs import noise_clip, random_program
from tests.runtimes.bundles import edit_initializer, every_runtime, forge, needs_library, rewrite, silent

PORTABLE = ["onnxruntime portable"]


def tapped(program: Program, clip: np.ndarray) -> RunResult:
    trace = run(program, clip)
    levels = {lif.name: lif.levels for lif in program.lifs}
    return RunResult(dict(trace.outputs), {name: pack_spikes(s, levels[name]) for name, s in trace.spikes.items()})


@needs_library("svf_ort")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"steps": 1}, id="one-step"),
        pytest.param({"steps": 2, "channels": 90, "heads": 2}, id="head-width-45"),
        pytest.param({"steps": 5, "reset": "soft", "scope": "temporal"}, id="soft-temporal"),
        pytest.param({"steps": 8, "size": (11, 9), "mode": "dot", "scope": "spatial"}, id="dot-spatial"),
        pytest.param({"steps": 2, "zero_point": 0}, id="event-counts"),
    ],
)
def test_adversarial_clips_give_the_same_spikes_on_onnxruntime(options: dict[str, object], tmp_path: Path) -> None:
    program = random_program(11, **options)  # type: ignore[arg-type]
    made = write_bundle(program, tmp_path / "bundle", {"golden": noise_clip(program, 5)}, targets=("onnx",))
    clips = load_clips(made) | load_clips(made, list(GENERATORS))
    wanted = [name for name in RUNTIMES if name.startswith(("reference", "onnxruntime"))]
    report = run_parity(made, clips, wanted)
    assert report, str(report)
    for entry in report.runtimes:
        assert entry.differing == 0 and entry.outputs_exact
        assert not any(clip.vacuous for clip in entry.clips if clip.clip in ("golden", "noise"))
        clips = 1 if entry.runtime == "reference" else 2  # the reference has only its golden clip to be compared with
        assert entry.compared >= clips * sum(np.prod(tap.shape) for tap in made.manifest.taps)


@pytest.mark.slow
@needs_library("svf_executorch")
def test_adversarial_clips_give_the_same_spikes_on_executorch(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = every_runtime(tmp_path_factory)
    clips = load_clips(made) | load_clips(made, list(GENERATORS))
    report = run_parity(made, clips, ["executorch packed", "executorch portable"])
    assert report, str(report)
    assert all(entry.compared > 0 for entry in report.runtimes)


@pytest.mark.slow
@needs_library("svf_executorch")
def test_a_bundled_program_that_is_wrong_or_damaged_fails_its_own_check(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    made = every_runtime(tmp_path_factory)
    for entry in made.manifest.artefacts:
        assert (entry.bundled is not None) == (entry.runtime == "executorch")
    cases = [made.golden(golden.name) for golden in made.manifest.golden]
    cases[1] = (cases[1][0], {name: values + (values == values.max()) for name, values in cases[1][1].items()})
    program, bundled = made.path("executorch/packed.pte"), "executorch/packed.bpte"

    def damage(path: Path) -> None:
        """The root table of the program inside, which ExecuTorch does not verify: native code dies of it."""
        content, root = path.read_bytes(), slice(128, 160)
        path.write_bytes(content[: root.start] + bytes(byte ^ 0xFF for byte in content[root]) + content[root.stop :])

    for content, sentence in (
        (lambda path: write_bundled_program(program, cases, path), "packed.bpte: fails its own case 1"),
        (lambda path: path.write_bytes(b"another file"), "packed.bpte: is no bundled program of ExecuTorch"),
        (damage, "packed.bpte: ExecuTorch cannot check it (the checking process was killed by signal"),
    ):
        forged = forge(made, tmp_path / sentence[-4:], bundled, content)
        (failed,) = run_parity(forged, load_clips(forged), ["executorch packed"]).runtimes
        assert failed.verdict == "failed" and sentence in str(failed.failure)
    stream = random_program(scope="causal", window=2)
    with pytest.raises(UnsupportedInput, match="a stream many steps"):
        write_bundle(stream, tmp_path / "s", {}, form="stream", bundled_program=True)


@pytest.mark.parametrize("dialect", ["portable", pytest.param("packed", marks=needs_library("svf_ort"))])
def test_a_changed_threshold_is_found_at_its_address(
    dialect: str, program: Program, bundle: Bundle, tmp_path: Path
) -> None:
    layer, channel = "mlp.lif1", 7

    def raise_threshold(theta: np.ndarray) -> None:
        theta.reshape(-1)[channel] = 2**20

    forged = forge(bundle, tmp_path / "b", f"onnx/{dialect}.onnx", edit_initializer(f"{layer}:theta", raise_threshold))
    report = run_parity(forged, load_clips(forged), [f"onnxruntime {dialect}"])
    assert not report
    (entry,) = report.runtimes
    assert entry.verdict == "differs"
    reference = run(program, bundle.golden("golden")[0]).spikes[layer][:, channel]
    t, y, x = (int(i[0]) for i in np.nonzero(reference))
    found = entry.first
    assert found is not None
    assert (found.layer, found.t, found.channel, found.y, found.x) == (layer, t, channel, y, x)
    assert (found.expected, found.found) == (1, 0)
    lif = next(lif for lif in program.lifs if lif.name == layer)
    assert found.theta == int(lif.theta[channel])
    assert found.margin >= 0  # the reference fired there
    assert str(found) in str(report)
    earlier = entry.clips[0].layers[: program.lifs.index(lif)]
    assert earlier and all(part.differing == 0 for part in earlier)


def test_a_changed_weight_shows_first_in_the_next_layer(program: Program, bundle: Bundle, tmp_path: Path) -> None:
    def negate(weight: np.ndarray) -> None:
        weight[5] = -weight[5]

    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", edit_initializer("k.pw:int8", negate))
    (entry,) = run_parity(forged, load_clips(forged), PORTABLE).runtimes
    assert entry.first is not None and (entry.first.layer, entry.first.channel) == ("k.lif", 5)


def test_a_change_after_the_last_spike_shows_in_the_outputs(bundle: Bundle, tmp_path: Path) -> None:
    def nudge(weight: np.ndarray) -> None:
        weight += 1

    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", edit_initializer("head.bins:bias", nudge))
    report = run_parity(forged, load_clips(forged), PORTABLE)
    (entry,) = report.runtimes
    assert not report and entry.differing == 0 and not entry.outputs_exact and entry.first is None
    (output,) = entry.clips[0].outputs
    assert output.index == (0, 0, 0, 0) and output.differing == output.compared
    assert output.found == (output.expected or 0) + 1
    assert "output 'logits' differs" in str(report)


def test_the_reference_is_compared_with_golden_vectors_only(bundle: Bundle) -> None:
    size = sum(int(np.prod(tap.shape)) for tap in bundle.manifest.taps)
    noise = load_clips(bundle, ["noise"])
    report = run_parity(bundle, noise, ["reference", *PORTABLE])
    reference, portable = report.runtimes
    assert (reference.verdict, reference.compared) == ("yardstick", 0) and "compared with nothing" in str(report)
    assert (portable.verdict, portable.compared) == ("equal", size)
    assert report and not run_parity(bundle, noise, ["reference"])

    # The frames make a clip golden, whatever it is called.
    (reference,) = run_parity(bundle, noise | {"other": bundle.golden("golden")[0]}, ["reference"]).runtimes
    assert (reference.verdict, reference.compared) == ("equal", size)


def test_lifeless_layers_are_named_and_no_evidence(program: Program, tmp_path: Path) -> None:
    clips = {"golden": noise_clip(program)}
    names = [lif.name for lif in program.lifs]
    made = write_bundle(silent(program, names[-1:]), tmp_path / "one", clips, targets=("onnx",))
    report = run_parity(made, clips, ["reference", *PORTABLE])
    assert report and all(entry.lifeless == (names[-1],) for entry in report.runtimes)
    assert report.activity == f"1 of {len(names)} layers silent or saturated on every clip: {names[-1]}"

    most = names[len(names) // 2 :] if len(names) % 2 else names[len(names) // 2 - 1 :]
    made = write_bundle(silent(program, most), tmp_path / "most", clips, targets=("onnx",))
    report = run_parity(made, clips, ["reference", *PORTABLE])
    assert [entry.verdict for entry in report.runtimes] == ["vacuous"] * 2 and not report
    assert not report.runtimes[1].clips[0].vacuous  # some layers did fire


def test_a_silent_network_is_vacuous(program: Program, tmp_path: Path) -> None:
    made = write_bundle(silent(program), tmp_path / "b", {"golden": noise_clip(program)}, targets=("onnx",))
    report = run_parity(made, load_clips(made), PORTABLE)
    assert report.runtimes[0].verdict == "vacuous"
    assert not report
    assert report.runtimes[0].compared == 0


def test_one_flipped_bit_counts_once(program: Program) -> None:
    clip = noise_clip(program, 1)
    result = tapped(program, clip)
    words = result.spikes["k.lif"].copy()
    words[0, 1, 2, 1] ^= 1 << 3
    trace = run(program, clip)
    compared = compare(program, clip, trace, RunResult(result.outputs, {**result.spikes, "k.lif": words}))
    assert not compared
    assert sum(layer.differing for layer in compared.layers) == 1
    assert compared.first is not None
    assert (compared.first.t, compared.first.channel, compared.first.y, compared.first.x) == (0, 35, 1, 2)
    assert (compared.first.margin >= 0) == (compared.first.expected == 1)


def test_a_padding_bit_is_no_spike_and_no_pass(program: Program) -> None:
    clip = noise_clip(program, 1)
    result = tapped(program, clip)
    words = result.spikes["k.lif"].copy()
    words[0, 0, 0, 1] |= 1 << 30  # channel 62 of 40
    trace = run(program, clip)
    compared = compare(program, clip, trace, RunResult(result.outputs, {**result.spikes, "k.lif": words}))
    assert not compared
    assert sum(layer.differing for layer in compared.layers) == 0
    assert [layer.layer for layer in compared.layers if layer.stray] == ["k.lif"]


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_every_address_agrees_with_the_spike_it_names(reset: str) -> None:
    program = random_program(2, steps=3, levels=3, reset=reset)  # type: ignore[arg-type]
    clip = noise_clip(program, 4)
    trace = run(program, clip)
    result = tapped(program, clip)
    rng = np.random.default_rng(0)
    for lif in program.lifs:
        words = result.spikes[lif.name].copy()
        place = tuple(int(rng.integers(size)) for size in words.shape)
        words[place] ^= 1
        compared = compare(program, clip, trace, RunResult(result.outputs, {**result.spikes, lif.name: words}))
        first = compared.first
        assert first is not None and first.layer == lif.name
        assert min(max(first.potential // first.theta, 0), lif.levels) == first.expected
        assert abs(first.found - first.expected) == 1


def test_a_bundle_without_our_library_says_so(bundle: Bundle, tmp_path: Path) -> None:
    bare = forge(bundle, tmp_path / "b", "onnx/packed.onnx", lambda path: None)
    bare = rewrite(bare.folder, bare.manifest.model_copy(update={"libraries": []}))
    with pytest.raises(MissingLibrary, match=r"svf_ort.*no platform.*export the bundle"):
        find_runtime("onnxruntime packed").open(bare)
    report = run_parity(bare, load_clips(bare), ["onnxruntime packed", "onnxruntime packed, no library"])
    assert [entry.verdict for entry in report.runtimes] == ["failed", "equal"]
    assert not report


@needs_library("svf_ort")
def test_a_damaged_library_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (library,) = [entry for entry in bundle.manifest.libraries if entry.name == "svf_ort"]
    forged = forge(bundle, tmp_path / "b", library.path, lambda path: path.write_bytes(b"no library"))
    with pytest.raises(MissingLibrary, match="libsvf_ort"):
        find_runtime("onnxruntime packed").open(forged)


def test_a_truncated_graph_is_named(bundle: Bundle, tmp_path: Path) -> None:
    def truncate(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:1000])

    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", truncate)
    for taps in (False, True):
        with pytest.raises(BadFile, match=r"portable\.onnx.*export the bundle again"):
            find_runtime("onnxruntime portable").open(forged, taps=taps)
    truncate(forged.folder / "onnx/packed.onnx")
    with pytest.raises(BadFile, match=r"packed\.onnx"):
        Bundle.open(forged.folder)


def test_a_graph_of_another_program_is_named(bundle: Bundle, tmp_path: Path) -> None:
    def other(path: Path) -> None:
        path.write_bytes(path.with_name("packed.onnx").read_bytes().replace(b"mlp.lif1", b"mlp.lifX"))

    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", other)
    with pytest.raises(BadFile, match=r"no tensor 'mlp\.lif1'"):
        find_runtime("onnxruntime portable").open(forged, taps=True)


def test_frames_of_another_size_are_refused(bundle: Bundle) -> None:
    small = np.zeros((2, 3, 12, 10), np.uint8)
    for name in ("reference", "onnxruntime portable"):
        with find_runtime(name).open(bundle) as session, pytest.raises(UnsupportedInput, match=r"\[2, 3, 12, 10\]"):
            session.run(small)
    with pytest.raises(UnsupportedInput):
        run_parity(bundle, {"small": small})


def test_a_golden_vector_of_another_program_fails_the_reference(bundle: Bundle, tmp_path: Path) -> None:
    (golden,) = bundle.manifest.golden
    digests = {**golden.digests, "k.lif": "0" * 64}
    copy = forge(bundle, tmp_path / "b", "onnx/packed.onnx", lambda path: None)
    changed = golden.model_copy(update={"digests": digests})
    copy = rewrite(copy.folder, copy.manifest.model_copy(update={"golden": [changed]}))
    (entry,) = run_parity(copy, load_clips(copy), ["reference"]).runtimes
    assert entry.verdict == "failed" and "'k.lif'" in str(entry)


def test_what_cannot_run_is_listed_and_fails_only_when_asked_for(bundle: Bundle) -> None:
    clips = load_clips(bundle)
    absent = "executorch portable"
    assert not run_parity(bundle, clips, ["onnxruntime portable", absent])
    everything = run_parity(bundle, clips)
    verdicts = {entry.runtime: entry.verdict for entry in everything.runtimes}
    assert verdicts[absent] == "not run" and verdicts["onnxruntime portable"] == "equal"
    assert list(verdicts) == list(RUNTIMES)


def test_reports_survive_json(bundle: Bundle) -> None:
    report = run_parity(bundle, load_clips(bundle), PORTABLE)
    assert ParityReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(
    ("name", "hint"), [("onnxruntime-packed", "onnxruntime packed"), ("executorch portabel", "executorch portable")]
)
def test_an_unknown_runtime_gets_the_closest_name(name: str, hint: str) -> None:
    with pytest.raises(UnsupportedInput, match=f"did you mean '{hint}'"):
        find_runtime(name)


def test_clips_are_deterministic_and_adversarial(bundle: Bundle) -> None:
    first, second = (load_clips(bundle, list(GENERATORS)) for _ in range(2))
    for name, clip in first.items():
        assert clip.shape == bundle.manifest.frames.shape and clip.dtype == np.uint8
        assert np.array_equal(clip, second[name])
    assert first["black"].max() == 0 and first["white"].min() == 255
    assert np.count_nonzero(first["hot-pixel"]) == 1
    assert len(np.unique(first["noise"])) > 100
    with pytest.raises(UnsupportedInput, match="did you mean 'noise'"):
        load_clips(bundle, ["noize"])
    with pytest.raises(SvfError, match=r"missing\.mp4"):
        load_clips(bundle, ["missing.mp4"])


def test_a_video_is_cut_into_windows(bundle: Bundle) -> None:
    pytest.importorskip("av")
    video = Path(svf_edge.__file__).parent / "assets" / "clips" / "walk.mp4"
    clips = load_clips(bundle, [str(video)], windows=2)
    assert list(clips) == ["walk.mp4[0]", "walk.mp4[1]"]
    assert all(clip.shape == bundle.manifest.frames.shape for clip in clips.values())
    assert not np.array_equal(clips["walk.mp4[0]"], clips["walk.mp4[1]"])
    assert list(load_clips(bundle, [str(video)])) == ["walk.mp4"]


def test_a_file_wins_over_a_golden_clip_of_its_name(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    video = Path(svf_edge.__file__).parent / "assets" / "clips" / "walk.mp4"
    kept = {"walk.mp4": noise_clip(program, 1), "noise": noise_clip(program, 2)}
    made = write_bundle(program, tmp_path / "b", kept, targets=())
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(load_clips(made, ["walk.mp4"], windows=2)["walk.mp4"], kept["walk.mp4"])
    assert load_clips(made).keys() == kept.keys()
    assert all(np.array_equal(clip, kept[name]) for name, clip in load_clips(made).items())

    (tmp_path / "walk.mp4").write_bytes(video.read_bytes())
    assert list(load_clips(made, ["walk.mp4"], windows=2)) == ["walk.mp4[0]", "walk.mp4[1]"]
    assert load_clips(made, ["noise", "noise", "walk.mp4"]).keys() == kept.keys()
    with pytest.raises(UnsupportedInput, match=r"'walk\.mp4' was given before; rename"):
        load_clips(made, ["walk.mp4", str(video)])
    # A video that only shares a golden clip's name is not held against it.
    assert run_parity(made, load_clips(made, ["walk.mp4"]), ["reference"]).runtimes[0].verdict == "yardstick"


def test_a_graph_that_fails_while_running_is_named(bundle: Bundle, tmp_path: Path) -> None:
    def break_shape(values: np.ndarray) -> None:
        values[:] = 10**6

    name = next(
        tensor.name
        for tensor in onnx.load(bundle.path("onnx/portable.onnx")).graph.initializer
        if tensor.name.startswith("i64:")
    )
    forged = forge(bundle, tmp_path / "b", "onnx/portable.onnx", edit_initializer(name, break_shape))
    report = run_parity(forged, load_clips(forged), PORTABLE)
    assert report.runtimes[0].verdict == "failed" and "portable.onnx" in str(report)
