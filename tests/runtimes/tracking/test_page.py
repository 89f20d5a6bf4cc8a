"""The live page: what it sends, who it refuses, and that it ends with the program. One test drives a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from PIL import Image

from svf_edge.data.skeleton import NUM_JOINTS
from svf_edge.errors import SvfError, UnsupportedInput
from svf_edge.export.bundle import Bundle
from svf_edge.runtimes.tracking import PoseTracker
from svf_edge.runtimes.tracking.capture import Capture
from svf_edge.runtimes.tracking.gate import Gate, parse_address
from svf_edge.runtimes.tracking.page import LivePage
from svf_edge.runtimes.tracking.pipeline import Outputs, Run
from svf_edge.shipped import CLIP
from tests.runtimes.tracking.endless import Endless

KEPT = os.environ.get("SVF_TEST_PICTURES")


@contextmanager
def live(bundle: Bundle) -> Iterator[LivePage]:
    """A page of the shipped clip, played round and round at its own speed."""
    capture = Capture(Endless(CLIP), every=False)
    with PoseTracker(bundle) as tracker, LivePage("0", bundle, tracker.runtime) as page:
        run = Run(tracker, capture, 1, False, None, Outputs(page=page))
        thread = threading.Thread(target=run.until_the_end)
        thread.start()
        try:
            yield page
        finally:
            capture.request_stop()
            thread.join()


Sent = list[tuple[dict[str, Any], bytes]]


async def exchange(page: LivePage, count: int, *, rates: bool) -> tuple[dict[str, Any], Sent]:
    """The constants, and `count` frames as header and JPEG."""
    frames = []
    async with aiohttp.ClientSession() as client, client.ws_connect(page.url + "stream") as stream:
        constants = await stream.receive_json()
        drawn = -1
        for _ in range(count):
            await stream.send_json({"drawn": drawn, "rates": rates})
            data = (await stream.receive()).data
            size = int.from_bytes(data[:4], "little")
            header = json.loads(data[4 : 4 + size])
            drawn = header["number"]
            frames.append((header, data[4 + size :]))
    return constants, frames


def test_it_sends_frames_joints_and_numbers(shipped: Bundle, tmp_path: Path) -> None:
    with live(shipped) as page:
        constants, frames = asyncio.run(exchange(page, 20, rates=True))  # long enough for the numbers to be renewed
        _, others = asyncio.run(exchange(page, 2, rates=False))
    assert len(constants["joints"]) == NUM_JOINTS == len(constants["colours"])
    assert {len(limb) for limb in constants["limbs"]} == {3}
    numbers = [header["number"] for header, _ in frames]
    assert numbers == sorted(set(numbers))
    header, jpeg = frames[-1]
    (tmp_path / "frame.jpg").write_bytes(jpeg)
    picture = np.asarray(Image.open(tmp_path / "frame.jpg"))
    assert picture.shape == (256, 256, 3) and picture.std() > 20
    assert header["size"] == [256, 256] and len(header["keypoints"]) == NUM_JOINTS
    assert header["glance"]["frames"] > 0 and header["page_age"]["p50"] > 0
    assert len(header["histogram"]) == len(constants["edges"]) - 1 and sum(header["histogram"]) > header["number"]
    assert set(header["rates"]) == {tap.layer for tap in shipped.manifest.taps}
    assert all(0 < rate < 0.6 for rate in header["rates"].values())
    assert "rates" not in others[0][0]


async def status(url: str, path: str = "", **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(url.partition("?")[0] + path, headers=headers) as answer:
        return answer.status, await answer.text()


def test_other_origins_and_names_are_refused(shipped: Bundle) -> None:
    with LivePage("0", shipped, "onnxruntime packed") as page:
        port = page.url.rsplit(":", 1)[1].strip("/")
        assert asyncio.run(status(page.url))[0] == 200
        assert asyncio.run(status(page.url, "page.js"))[0] == 200
        assert asyncio.run(status(page.url, "page.py"))[0] == 404
        code, text = asyncio.run(status(page.url, Host=f"evil.example:{port}"))
        assert code == 403 and "not called evil.example" in text
        for path in ("", "stream", "page.js"):
            assert asyncio.run(status(page.url, path, Origin="http://evil.example"))[0] == 403
        assert (
            asyncio.run(status(page.url, "stream", Origin=f"http://localhost:{port}"))[0] == 403
        )  # asked as 127.0.0.1

        async def upgrade(origin: str) -> int:
            async with aiohttp.ClientSession() as client:
                try:
                    async with client.ws_connect(page.url + "stream", origin=origin):
                        return 101
                except aiohttp.WSServerHandshakeError as error:
                    return error.status

        assert asyncio.run(upgrade(f"http://127.0.0.1:{port}")) == 101
        assert asyncio.run(upgrade("http://evil.example")) == 403
        assert asyncio.run(upgrade("null")) == 403


def test_off_the_loopback_a_token_is_needed(shipped: Bundle) -> None:
    with LivePage("0.0.0.0:0", shipped, "onnxruntime packed") as page:
        address, _, token = page.url.partition("?token=")
        local = f"http://127.0.0.1:{address.rsplit(':', 1)[1]}"
        assert len(token) > 20
        code, text = asyncio.run(status(local))
        assert code == 403 and "token" in text
        assert asyncio.run(status(local, "stream"))[0] == 403
        assert asyncio.run(status(local, "page.js"))[0] == 200

        async def with_token(given: str) -> int:
            async with aiohttp.ClientSession() as client, client.get(local, params={"token": given}) as answer:
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                return answer.status

        assert asyncio.run(with_token(token)) == 200
        assert asyncio.run(with_token(token[:-1])) == 403


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("127.0.0.1:80", False),
        ("localhost", False),
        ("[::1]:80", False),
        ("localhost:81", True),
        ("localhost.evil.example", True),
        ("evil.example", True),
        ("127.0.0.1:80:80", True),
        ("", True),
        (None, True),
    ],
)
def test_names_of_the_loopback(host: str | None, refused: bool) -> None:
    assert (Gate.at("127.0.0.1", 80).refusal(host, None, None) is not None) == refused


def test_addresses() -> None:
    assert parse_address("8000") == ("127.0.0.1", 8000)
    assert parse_address("0.0.0.0:1") == ("0.0.0.0", 1)
    assert parse_address("[::1]:7") == ("::1", 7)
    for bad in ("", "host", "1.2.3.4:", ":80", "host:99999", "a:1/b", "http://a:1"):
        with pytest.raises(UnsupportedInput, match="--serve"):
            parse_address(bad)


def test_a_port_in_use_is_one_sentence(shipped: Bundle) -> None:
    with LivePage("0", shipped, "onnxruntime packed") as page:
        port = page.url.rsplit(":", 1)[1].strip("/")
        with pytest.raises(SvfError, match=f"--serve 127.0.0.1:{port}: .*take another port"):
            LivePage(port, shipped, "onnxruntime packed").__enter__()


def test_nonsense_from_a_browser_ends_only_its_stream(shipped: Bundle) -> None:
    async def talk(page: LivePage, text: str) -> int | None:
        async with aiohttp.ClientSession() as client, client.ws_connect(page.url + "stream") as stream:
            await stream.receive_json()
            await stream.send_str(text)
            await stream.receive()
            return stream.close_code

    with live(shipped) as page:
        for text in ("{", "[]", '{"drawn": "1", "rates": true}', '{"drawn": 1}', "x" * 10_000):
            assert asyncio.run(talk(page, text)) in (1008, 1009)
        assert asyncio.run(exchange(page, 1, rates=False))[1]


def test_the_stream_ends_with_the_program(shipped: Bundle) -> None:
    async def until_closed(url: str, leave: threading.Event) -> int | None:
        async with aiohttp.ClientSession() as client, client.ws_connect(url + "stream") as stream:
            await stream.receive_json()
            await stream.send_json({"drawn": 10**9, "rates": False})
            leave.set()
            while not stream.closed:
                await stream.receive()
            return stream.close_code

    codes: list[int | None] = []
    connected = threading.Event()
    with LivePage("0", shipped, "onnxruntime packed") as page:
        url = page.url
        thread = threading.Thread(target=lambda: codes.append(asyncio.run(until_closed(url, connected))))
        thread.start()
        assert connected.wait(20)
    thread.join(20)
    assert codes == [1001]
    with pytest.raises(aiohttp.ClientConnectorError):
        asyncio.run(status(url))


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


ORANGE = (
    "(() => { const c = document.getElementById('picture');"
    "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
    "for (let i = 0; i < d.length; i += 4) n += d[i] === 255 && d[i+1] === 159 && d[i+2] === 28;"
    "return n; })()"
)
"""Pixels of the overlay's orange in the picture, in the browser."""


@pytest.mark.skipif(chromium() is None, reason="needs chromium (Debian: apt install chromium)")
def test_in_a_real_browser(shipped: Bundle, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (group test)")
    picture = (Path(KEPT) if KEPT else tmp_path) / "live-page.png"
    problems: list[str] = []
    with api.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=chromium(), args=arguments)
        tab = browser.new_page()
        tab.set_default_timeout(60_000)
        tab.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))

        def until(condition: str) -> None:
            deadline = time.monotonic() + 60  # the page forbids eval, which waiting in the page needs
            while not tab.evaluate(condition):
                assert time.monotonic() < deadline, (condition, tab.inner_text("#status"), problems)
                tab.wait_for_timeout(50)

        with live(shipped) as page:
            tab.goto(page.url)
            until("document.body.dataset.number > 10")
            assert tab.inner_text("#status") == "live"

            def frames_later(count: int) -> None:
                number = tab.evaluate("document.body.dataset.number")
                until(f"document.body.dataset.number > {int(number) + count}")

            until(f"{ORANGE} > 20")
            tab.uncheck("#overlay")
            frames_later(2)
            assert tab.evaluate(ORANGE) == 0
            tab.check("#overlay")
            tab.select_option("#joint", label="right wrist")
            tab.check("#rates")
            until(f"document.getElementById('layers').rows.length === {len(shipped.manifest.taps)}")
            frames_later(10)
            assert float(tab.inner_text("#fps")) > 1
            assert tab.inner_text("#page-age").endswith("ms")
            for canvas in ("trajectory", "histogram"):
                pixels = f"document.getElementById('{canvas}').getContext('2d').getImageData(0, 0, 480, 140).data"
                assert tab.evaluate(f"{pixels}.some(Boolean)"), canvas
            tab.screenshot(path=picture, full_page=True)
            tab.uncheck("#rates")
            until("document.getElementById('layers').rows.length === 0")
        until("document.getElementById('status').textContent === 'the program has ended'")
        browser.close()
    assert problems == []
    assert picture.stat().st_size > 10_000
