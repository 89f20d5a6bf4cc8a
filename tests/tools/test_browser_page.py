"""The page that needs no server: the portable graph in a real browser, on golden clips and on its camera."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest

from svf_edge.data.skeleton import NUM_JOINTS
from svf_edge.data.video import read_clip
from svf_edge.export.bundle import Bundle, write_bundle
from svf_edge.program import load_program
from svf_edge.shipped import CLIP, PROGRAM
from tests.programs import noise_clip, random_program

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def write_page(bundle: Bundle, output: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, ROOT / "tools" / "browser_page.py", bundle.folder, "-o", output, *arguments]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def camera_file(path: Path) -> Path:
    """The shipped clip as Chromium's made-up camera plays it, round and round."""
    with av.open(str(CLIP)) as video, av.open(str(path), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuvj420p"
        for frame in video.decode(video=0):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))))
        out.mux(stream.encode(None))
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)")
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm, which brings onnxruntime-web")
def test_no_output_differs_and_the_camera_is_tracked(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (group test)")
    program = load_program(PROGRAM)
    steps, _, *size = program.frames.shape
    clips = {"walk": read_clip(CLIP, steps, (size[0], size[1])), "noise": noise_clip(program)}
    bundle = write_bundle(program, tmp_path / "bundle", clips, targets=("onnx",), dialects=("portable",))
    done = write_page(bundle, tmp_path / "page")
    if "npm could not install" in done.stderr:
        pytest.skip(done.stderr)  # no registry is in reach
    assert done.returncode == 0, done.stderr
    camera = camera_file(tmp_path / "camera.mjpeg")
    arguments = [
        *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--use-fake-ui-for-media-stream"),
        *("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"),
    ]
    with served(tmp_path / "page") as url, api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        tab = browser.new_page()
        tab.goto(url)

        def data(key: str) -> Any:
            """An entry that the page makes on its body, when it is there."""
            deadline = time.monotonic() + 90
            while (value := tab.evaluate(f"document.body.dataset.{key}")) is None:
                said = tab.inner_text("#test")
                assert time.monotonic() < deadline and "failed" not in said, said
                tab.wait_for_timeout(100)
            return value

        outputs = sum(bundle.golden(name)[1][program.outputs[0].name].size for name in clips)
        assert (int(data("compared")), int(data("differing"))) == (outputs, 0)
        tab.click("#start")
        deadline = time.monotonic() + 60
        while int(data("frames")) < 5:
            assert time.monotonic() < deadline
            tab.wait_for_timeout(100)
        joints = json.loads(data("joints"))
        browser.close()
    assert len(joints) == NUM_JOINTS
    assert sum(joint["score"] for joint in joints) / NUM_JOINTS > 0.5
    # The walker stands upright: head above hips above ankles.
    assert joints[0]["y"] < joints[7]["y"] < joints[11]["y"]


def test_what_it_does_not_take_is_one_sentence(tmp_path: Path) -> None:
    program = random_program()
    bundle = write_bundle(program, tmp_path / "b", {"n": noise_clip(program)}, targets=("onnx",))
    for output, sentence in ((tmp_path / "page", "runs a pose model on clips"), (tmp_path / "b", "exists")):
        done = write_page(bundle, output, "--package", tmp_path)
        assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "page").exists()
