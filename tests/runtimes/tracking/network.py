"""Cameras on the network, on loopback: motion JPEG over HTTP, and H.264 over RTSP."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pictures = Sequence[NDArray[np.uint8]]
_INTERVAL = 0.02


@contextmanager
def http_camera(pictures: Pictures, hold: threading.Event | None = None) -> Iterator[str]:
    """The address of a camera that sends `pictures` and hangs up, or is silent until `hold` is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            for picture in pictures:
                jpeg = io.BytesIO()
                Image.fromarray(picture).save(jpeg, "JPEG")
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.tell()}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg.getvalue() + b"\r\n")
                time.sleep(_INTERVAL)
            if hold is not None:
                hold.wait(30)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/camera"
        finally:
            if hold is not None:
                hold.set()
            server.shutdown()
            thread.join()


_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:video\r\n"
)


@contextmanager
def rtsp_camera(pictures: Pictures) -> Iterator[str]:
    """The address of a camera that sends `pictures` over its one RTSP connection and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: _answer(listener.accept()[0], pictures))
        thread.start()
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/camera"
        thread.join(30)
        assert not thread.is_alive()


def _answer(connection: socket.socket, pictures: Pictures) -> None:
    """What an RTSP server says, up to PLAY and then the pictures."""
    with connection, connection.makefile("rb") as requests:
        while request := requests.readline().decode().split():
            headers = {}
            while line := requests.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            answers = {
                "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""),
                "DESCRIBE": ("Content-Type: application/sdp\r\n", _SDP),
                "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
                "PLAY": ("", ""),
            }
            head, body = answers[request[0]]
            head += f"CSeq: {headers['cseq']}\r\nSession: 1\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(f"RTSP/1.0 200 OK\r\n{head}\r\n{body}".encode())
            if request[0] == "PLAY":
                _play(pictures, lambda packet: connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet))
                return


def _play(pictures: Pictures, send: Callable[[bytes], None]) -> None:
    """FFmpeg's RTP packets of `pictures`, taken from the socket it sends them to."""
    height, width, _ = pictures[0].shape
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
        packets.bind(("127.0.0.1", 0))
        packets.settimeout(0.2)
        with av.open(f"rtp://127.0.0.1:{packets.getsockname()[1]}", "w", format="rtp") as out:
            stream = out.add_stream("libx264", rate=50, options={"tune": "zerolatency", "x264-params": "keyint=10"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in [*pictures, None]:
                frame = None if picture is None else av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
                for packet in stream.encode(frame):
                    out.mux(packet)
                    _forward(packets, send)
                time.sleep(_INTERVAL)


def _forward(packets: socket.socket, send: Callable[[bytes], None]) -> None:
    """What has arrived by now; the marker bit says which packet is a picture's last."""
    while True:
        packet = packets.recv(65536)
        send(packet)
        if packet[1] & 0x80:
            return
