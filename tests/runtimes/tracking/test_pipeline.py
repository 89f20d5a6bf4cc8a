"""Runs from source to outputs, and everything that goes wrong on the way: nothing hangs, nothing promised is lost."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from svf_edge.errors import BadFile, SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.runtimes.tracking.capture import Capture
from svf_edge.runtimes.tracking.json_lines import JsonLines
from svf_edge.runtimes.tracking.measures import STAGES, Summary
from svf_edge.runtimes.tracking.pipeline import END, INTERRUPTED, Outputs, Run
from svf_edge.runtimes.tracking.recorder import Recorder
from svf_edge.runtimes.tracking.smoothing import OneEuro
from svf_edge.runtimes.tracking.sources import Frame, Source, open_source
from svf_edge.shipped import CLIP
from tests.runtimes.tracking.network import http_camera, rtsp_camera

CLI = (sys.executable, "-c", "from svf_edge.cli import main; main()")


class Slow(Source):
    """A live source of one still picture, as fast as it can, that may break off."""

    name = "a made-up camera"
    live = True

    def __init__(self, frames: int, failure: BaseException | None = None, shapes: tuple[int, ...] = (48,)) -> None:
        self._frames, self._failure, self._shapes = frames, failure, shapes

    def frames(self) -> Iterator[Frame]:
        for number in range(self._frames):
            side = self._shapes[number * len(self._shapes) // self._frames]
            now = time.perf_counter()
            yield Frame(number, np.full((side, 2 * side, 3), number % 256, np.uint8), number / 30, now, 0.0)
        if self._failure is not None:
            raise self._failure


def run(tracker: PoseTracker, source: Source, outputs: Outputs, *, every: bool = True) -> Summary:
    return Run(tracker, Capture(source, every=every), 1, every, OneEuro(), outputs).until_the_end()


def lines_of(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *frames, last = map(json.loads, path.read_text().splitlines())
    return frames, last["summary"]


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as video:
        return list(video.decode(video=0))


def test_every_frame_of_a_file_is_tracked_drawn_and_written(tracker: PoseTracker, tmp_path: Path) -> None:
    video, lines = tmp_path / "new" / "out.mp4", tmp_path / "lines" / "out.jsonl"
    summary = run(tracker, open_source(str(CLIP)), Outputs(record=Recorder(video), json=JsonLines(lines)))
    frames, last = lines_of(lines)
    assert summary == Summary.model_validate(last)
    assert (summary.frames, summary.dropped, summary.damaged, summary.ended) == (96, 0, 0, END)
    assert summary.found > 90 and summary.drawn and set(summary.stages_ms) == set(STAGES)
    assert summary.age_ms is not None and summary.jitter is not None
    assert summary.age_ms.count == 96 and 0 < summary.age_ms.p50 <= summary.age_ms.p99 <= summary.age_ms.max
    assert 0 < summary.jitter.shown_px < summary.jitter.raw_px  # smoothing calms
    assert [line["frame"] for line in frames] == list(range(96))
    pictures, originals = decoded(video), decoded(CLIP)
    assert [round(1e3 * float(p.time)) for p in pictures] == [round(1e3 * float(o.time)) for o in originals]
    change = np.abs(pictures[50].to_ndarray(format="rgb24").astype(int) - originals[50].to_ndarray(format="rgb24"))
    assert change.max(axis=-1).mean() > 2  # something was drawn
    assert np.median(change) < 12  # and the picture is still the picture
    inside = np.array([line["keypoints"] for line in frames if line["found"]])
    assert inside.shape[1:] == (13, 2) and inside.min() > 0 and inside.max() < 256


def test_a_source_faster_than_the_tracker_never_queues(tracker: PoseTracker) -> None:
    summary = run(tracker, Slow(5000), Outputs(), every=False)
    assert summary.frames + summary.dropped == 5000
    assert summary.dropped > summary.frames
    assert summary.age_ms is not None and summary.stages_ms["queue"].max < summary.age_ms.max
    # What is tracked is at most as old as the tracker is slow: one frame waits, and that one is replaced.
    work = sum(summary.stages_ms[stage].max for stage in ("preprocess", "network", "postprocess", "draw", "write"))
    assert summary.age_ms.max < 3 * work + summary.stages_ms["queue"].max


def test_a_recording_is_played_at_its_own_speed(tracker: PoseTracker, ramp: Path) -> None:
    began = time.perf_counter()
    summary = run(tracker, open_source(str(ramp)), Outputs(), every=False)
    assert time.perf_counter() - began > 1.9
    assert summary.frames + summary.dropped == 20


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("failure", [SvfError("it was unplugged"), RuntimeError("a bug"), SystemExit(3)])
def test_a_source_that_dies_ends_the_run_and_keeps_what_was_promised(
    tracker: PoseTracker, tmp_path: Path, every: bool, failure: BaseException
) -> None:
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    outputs = Outputs(record=Recorder(video), json=JsonLines(lines))
    with pytest.raises(type(failure)):
        run(tracker, Slow(30, failure), outputs, every=every)
    frames, last = lines_of(lines)
    assert len(frames) == len(decoded(video)) == last["frames"] and last["frames"] + last["dropped"] == 30
    assert str(failure) in last["ended"]


def test_a_stuck_source_is_named() -> None:
    hold = threading.Event()

    class Stuck(Slow):
        def frames(self) -> Iterator[Frame]:
            yield from super().frames()
            hold.wait(60)

    with Capture(Stuck(2), every=True, patience=0.5) as capture:
        assert [capture.take(), capture.take()].count(None) == 0
        with pytest.raises(SvfError, match="gave no frame for"):
            capture.take()
        hold.set()


def test_the_resolution_may_change(tracker: PoseTracker, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    summary = run(tracker, Slow(30, shapes=(48, 75, 31)), Outputs(record=Recorder(video)))
    assert summary.frames == 30 and {(f.width, f.height) for f in decoded(video)} == {(96, 48)}
    assert len(decoded(video)) == 30


def test_a_slow_disk_slows_and_loses_nothing(tracker: PoseTracker, tmp_path: Path) -> None:
    class SlowDisk(Recorder):
        def _encode(self, *arguments: Any) -> None:
            time.sleep(0.03)
            super()._encode(*arguments)

    video = tmp_path / "out.mp4"
    summary = run(tracker, Slow(40), Outputs(record=SlowDisk(video)))
    assert summary.frames == len(decoded(video)) == 40
    assert summary.stages_ms["write"].p90 > 10


def test_a_full_disk_is_named_and_what_fits_is_kept(shipped: Bundle, tmp_path: Path) -> None:
    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))

    done = command(tmp_path, shipped, str(CLIP), "--headless", "--save", "out.mp4", preexec=small_disk)
    assert done.returncode == 1
    assert "out.mp4: saving failed after" in done.stderr and "out.partial.mp4" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.mp4"]
    assert len(list(open_source(str(tmp_path / "out.partial.mp4")).frames())) > 10  # the last one is torn


def test_a_video_has_a_name_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedInput, match=r"saved as \.mp4"):
        Recorder(tmp_path / "out.avi")


def command(
    folder: Path, bundle: Bundle, *arguments: str, preexec: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """`svf-edge track` in a process of its own."""
    words = [*CLI, "track", *arguments, "-b", str(bundle.folder)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, preexec_fn=preexec)


def start(folder: Path, bundle: Bundle, *arguments: str) -> subprocess.Popen[str]:
    words = [*CLI, "track", *arguments, "-b", str(bundle.folder)]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_files(shipped: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    words = (str(CLIP), "--headless", "--realtime", "--save", "out.mp4", "--json", "out.jsonl")
    process = start(tmp_path, shipped, *words)
    lines = tmp_path / "out.jsonl"
    deadline = time.monotonic() + 60
    while not (lines.exists() and lines.read_text().count("\n") > 5):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said
    frames, last = lines_of(lines)
    assert last["ended"] == INTERRUPTED and 5 < len(frames) < 96
    assert len(decoded(tmp_path / "out.mp4")) == len(frames) == last["frames"]


def test_a_reader_that_leaves_ends_the_run(shipped: Bundle, tmp_path: Path) -> None:
    process = start(tmp_path, shipped, str(CLIP), "--headless", "--json", "-", "--save", "out.mp4")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert process.wait(60) == 1
    assert "--json -: cannot be written" in said and "Traceback" not in said and "Exception" not in said
    assert decoded(tmp_path / "out.mp4")


def test_a_screen_that_is_not_there_is_named(shipped: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame", reason="needs pygame-ce (extra track)")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    done = command(tmp_path, shipped, str(CLIP))
    assert done.returncode == 1 and "no screen to open a window on" in done.stderr and "--headless" in done.stderr


def test_a_window_shows_frames_and_closes(tracker: PoseTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame", reason="needs pygame-ce (extra track)")
    from svf_edge.runtimes.tracking.window import Window

    window = Window("test")
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    assert window.show(red)
    assert pygame.display.get_surface().get_at((10, 10))[:3] == (200, 0, 0)
    large = np.zeros((3000, 4000, 3), np.uint8)
    assert window.show(large)
    assert max(pygame.display.get_surface().get_size()) < 4000
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    summary = run(tracker, Slow(30), Outputs(window=window))
    assert summary.frames == 1 and summary.ended == "window closed"
    window.close()


def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    for text, sentence in (
        (str(tmp_path / "absent.mp4"), "no such file; give a camera index"),
        (str(tmp_path / "text.mp4"), "cannot be opened"),
        (str(tmp_path / "empty"), "holds no image"),
        ("87", "camera /dev/video87: cannot be opened .*plugged in"),
        ("http://127.0.0.1:9/x.mp4", "cannot be opened .*check the address"),
    ):
        with pytest.raises(BadFile, match=sentence):
            open_source(text)


def test_a_damaged_video_is_tracked_as_far_as_it_goes(tracker: PoseTracker, tmp_path: Path) -> None:
    """Noise over a stretch of the pictures: they are counted or shown with faults, and the rest goes on."""
    content = bytearray(CLIP.read_bytes())
    start = content.index(b"mdat") + 4
    third = (len(content) - start) // 3
    content[start + third : start + third + third // 2] = np.random.default_rng(0).bytes(third // 2)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    summary = run(tracker, open_source(str(damaged)), Outputs())
    assert summary.damaged > 0 and 40 < summary.frames < 96 + summary.damaged and summary.ended == END
    content[start:] = bytes(len(content) - start)
    damaged.write_bytes(content)
    with pytest.raises(BadFile, match="give a video that plays elsewhere"):
        run(tracker, open_source(str(damaged)), Outputs())


def test_a_folder_of_images_in_natural_order(tracker: PoseTracker, tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (40, 30), (20 * index, 0, 0)).save(tmp_path / f"{index}.png")
    (tmp_path / "5.png").write_bytes(b"broken")
    (tmp_path / "note.txt").write_text("no image")
    frames = list(open_source(str(tmp_path)).frames())
    assert [int(frame.pixels[0, 0, 0]) // 20 for frame in frames] == [i for i in range(12) if i != 5]
    assert [frame.number for frame in frames] == list(range(11))
    summary = run(tracker, open_source(str(tmp_path)), Outputs())
    assert (summary.frames, summary.damaged) == (11, 1)


def test_a_video_from_the_network(tracker: PoseTracker, ramp: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(ramp.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/ramp.mkv")
        assert not source.live  # it has a length: a recording, however it is reached
        summary = run(tracker, source, Outputs())
        server.shutdown()
        thread.join()
    assert summary.frames == 20


def grey(height: int, width: int, count: int) -> list[np.ndarray]:
    return [np.full((height, width, 3), 10 * index % 260, np.uint8) for index in range(count)]


def test_a_camera_on_the_network_that_turns_and_goes(tracker: PoseTracker, tmp_path: Path) -> None:
    """Motion JPEG whose pictures change their size before the connection ends: every frame is kept."""
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    outputs = Outputs(record=Recorder(video), json=JsonLines(lines))
    with http_camera([*grey(64, 96, 15), *grey(96, 64, 10)]) as url:
        source = open_source(url)
        assert source.live
        with pytest.raises(SvfError, match=r"camera: (gives no more frames after|broke off after) 25"):
            run(tracker, source, outputs)
    frames, last = lines_of(lines)
    assert len(frames) == len(decoded(video)) == last["frames"] == 25 and "after 25" in last["ended"]
    assert {(picture.width, picture.height) for picture in decoded(video)} == {(96, 64)}


def test_a_camera_on_the_network_that_falls_silent(tracker: PoseTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svf_edge.runtimes.tracking.sources.SILENCE", 1.0)
    hold = threading.Event()
    with http_camera(grey(64, 96, 12), hold) as url:
        began = time.monotonic()
        with pytest.raises(SvfError, match=r"camera: broke off after 1[12] frames"):
            run(tracker, open_source(url), Outputs())
        assert time.monotonic() - began < 15 and not hold.is_set()


def test_a_camera_by_rtsp() -> None:
    """H.264 in RTP packets of FFmpeg's; what was read while the stream was recognised is dropped."""
    with rtsp_camera(grey(64, 96, 100)) as url:
        source = open_source(url)
        assert source.live
        levels = []
        with pytest.raises(SvfError, match=r"rtsp://.*: (gives no more frames after|broke off after) \d\d+"):
            for frame in source.frames():
                assert frame.pixels.shape == (64, 96, 3)
                levels.append(int(frame.pixels[20, 20, 0]))
        source.close()
    steps = np.diff(levels) % 260  # grey levels rise by 10, from 250 to 0
    assert len(levels) > 10 and (np.abs(steps - 10) <= 3).mean() > 0.9


@pytest.mark.hardware
@pytest.mark.skipif(not Path("/dev/video0").exists(), reason="needs a camera at /dev/video0")
def test_a_camera(tracker: PoseTracker) -> None:
    capture = Capture(open_source("0"), every=False)
    with capture:
        numbers = [taken.frame.number for taken in (capture.take() for _ in range(5)) if taken is not None]
    assert len(numbers) == 5
