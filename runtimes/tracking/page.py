"""The live page of a run: a small web server in a thread of its own. Needs aiohttp (extra `track`).

A browser asks for the next frame when it has drawn the last one, and always gets the newest, so a slow browser sees
fewer frames and never older ones. Pictures are encoded only while somebody watches, firing rates are measured (by a
second, tapped session) only while somebody looks at them, once a second.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from svf_edge.data.skeleton import JOINT_NAMES, SKELETON
from svf_edge.errors import MissingPackage, SvfError
from svf_edge.runtimes.tracking.gate import Gate, parse_address
from svf_edge.runtimes.tracking.measures import Glance, Histogram
from svf_edge.runtimes.tracking.overlay import SURE, side_colour
from svf_edge.runtimes.tracking.rates import RateMonitor

if TYPE_CHECKING:
    from aiohttp import web

    from svf_edge.export.bundle import Bundle
    from svf_edge.runtimes.tracking.pipeline import Tracked

STATIC = Path(__file__).parent / "static"
LARGEST = 960
"""Longer side of the pictures that are sent."""
RATES_EVERY = 1.0
"""Seconds between two measurements of firing rates."""
ENDED = b"the program has ended"
_EDGES = np.concatenate([[0.0], np.geomspace(1, 1000, 31)])
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class LivePage:
    """Serves the page from `__enter__` to `__exit__`; `publish` gives it the next frame."""

    def __init__(self, address: str, bundle: Bundle, runtime: str, threads: int = 1) -> None:
        """`address` is "[HOST:]PORT", port 0 a free one. Without a host only this machine can connect.

        Raises `UnsupportedInput` for another address, and `MissingPackage` without aiohttp.
        """
        try:
            import aiohttp  # noqa: F401  (only whether it is there)
        except ModuleNotFoundError as error:
            raise MissingPackage("aiohttp", "track") from error
        self._host, self._port = parse_address(address)
        self._gate: Gate | None = None
        self._latest: tuple[int, Tracked, Glance] | None = None
        self._picture: tuple[int, bytes] = (-1, b"")
        self._ages, self._page_ages = Histogram(), Histogram()
        self._monitor = RateMonitor(bundle, runtime, threads)
        self._rates: tuple[float, Mapping[str, Any]] = (0.0, {})
        self._measuring = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._sockets: WeakSet[web.WebSocketResponse] = WeakSet()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    @property
    def url(self) -> str:
        """What to open in a browser, with the token where one is needed."""
        assert self._gate is not None
        return self._gate.url

    def __enter__(self) -> LivePage:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise SvfError(
                f"--serve {self._host}:{self._port}: {self._failure.strerror or self._failure}; take another port"
            ) from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=5)
        self._monitor.close()

    def publish(self, tracked: Tracked, glance: Glance) -> None:
        """Make this the newest frame. Costs next to nothing while nobody watches."""
        number = self._latest[0] + 1 if self._latest is not None else 0
        self._latest = number, tracked, glance
        self._ages.add(tracked.age_ms)
        self._monitor.feed(tracked.crop)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._arrived.set)

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._loop = None
            self._started.set()

    async def _main(self) -> None:
        from aiohttp import WSCloseCode, web

        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = web.Application(middlewares=[guard])
        for path in _FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/stream", self._stream)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            self._failure = error
        else:
            self._gate = Gate.at(self._host, runner.addresses[0][1])
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self._stop.wait()
            self._arrived.set()  # whoever waits for a frame sees that there is none
            leaving = (socket.close(code=WSCloseCode.GOING_AWAY, message=ENDED) for socket in self._sockets)
            await asyncio.gather(*leaving)
        await runner.cleanup()

    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        from aiohttp import web

        assert self._gate is not None
        # Style and script hold nothing that is not in the package, and cannot carry the token.
        needs_token = request.path in ("/", "/stream")
        token = request.query.get("token") if needs_token else self._gate.token
        refusal = self._gate.refusal(request.headers.get("Host"), request.headers.get("Origin"), token)
        if refusal is not None:
            return web.Response(status=403, text=f"{refusal}\n", headers=_HEADERS)
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        from aiohttp import web

        name, kind = _FILES[request.path]
        return web.Response(body=(STATIC / name).read_bytes(), content_type=kind, charset="utf-8")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        """The protocol: a text with what does not change; then, for every text `{"drawn": N, "rates": bool}` from the
        browser, one binary message: the length of a JSON header (4 bytes, little endian), the header, a JPEG."""
        from aiohttp import WSCloseCode, WSMsgType, web

        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=4096)
        await socket.prepare(request)
        self._sockets.add(socket)
        await socket.send_json(_constants())
        sent: tuple[int, float] = (-1, 0.0)
        async for message in socket:
            wish = _wish(message.data) if message.type == WSMsgType.TEXT else None
            if wish is None:
                await socket.close(code=WSCloseCode.POLICY_VIOLATION)
                break
            if wish["drawn"] == sent[0] >= 0:
                self._page_ages.add(1e3 * (time.perf_counter() - sent[1]))
            newest = await self._newer_than(sent[0])
            if newest is None:
                await socket.close(code=WSCloseCode.GOING_AWAY, message=ENDED)
                break
            rates = await self._fresh_rates() if wish["rates"] else {}
            number, tracked, glance = newest
            picture = await asyncio.get_running_loop().run_in_executor(None, self._encoded, number, tracked)
            header = json.dumps(self._header(number, tracked, glance, rates)).encode()
            sent = number, tracked.frame.arrived
            try:
                await socket.send_bytes(len(header).to_bytes(4, "little") + header + picture)
            except ConnectionError:  # closed while the picture was made
                break
        return socket

    async def _newer_than(self, number: int) -> tuple[int, Tracked, Glance] | None:
        """The newest frame once it is newer than `number`; None when the program ends."""
        while not self._stop.is_set():
            latest = self._latest
            if latest is not None and latest[0] > number:
                return latest
            self._arrived.clear()
            await self._arrived.wait()
        return None

    async def _fresh_rates(self) -> Mapping[str, Any]:
        """Firing rates of at most `RATES_EVERY` ago, or why there are none."""
        async with self._measuring:
            if time.perf_counter() - self._rates[0] > RATES_EVERY:
                try:
                    found = await asyncio.get_running_loop().run_in_executor(None, self._monitor.rates)
                    answer: Mapping[str, Any] = {"rates": found}
                except SvfError as error:
                    answer = {"rates_failure": str(error)}
                self._rates = time.perf_counter(), answer
        return self._rates[1]

    def _encoded(self, number: int, tracked: Tracked) -> bytes:
        """The frame as JPEG; several browsers share it."""
        from PIL import Image

        if self._picture[0] != number:
            image = Image.fromarray(np.ascontiguousarray(tracked.frame.pixels))
            image.thumbnail((LARGEST, LARGEST), Image.Resampling.BILINEAR)
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=80)
            self._picture = number, buffer.getvalue()
        return self._picture[1]

    def _header(self, number: int, tracked: Tracked, glance: Glance, rates: Mapping[str, Any]) -> dict[str, Any]:
        page = self._page_ages.spread()
        height, width = tracked.frame.pixels.shape[:2]
        return {
            "number": number,
            "size": [width, height],
            **tracked.as_json(),
            "glance": glance.model_dump(),
            "histogram": self._ages.coarse(_EDGES),
            "page_age": None if page is None else {"p50": page.p50, "p99": page.p99},
            **rates,
        }


def _constants() -> dict[str, Any]:
    return {
        "joints": JOINT_NAMES,
        "limbs": [[*limb, _css(side_colour(*limb))] for limb in SKELETON],
        "colours": [_css(side_colour(joint)) for joint in range(len(JOINT_NAMES))],
        "sure": SURE,
        "edges": _EDGES.tolist(),
    }


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _wish(text: str) -> dict[str, Any] | None:
    """What a browser asks for, or None for anything else."""
    try:
        wish = json.loads(text)
    except ValueError:
        return None
    if not isinstance(wish, dict) or type(wish.get("drawn")) is not int or type(wish.get("rates")) is not bool:
        return None
    return wish
