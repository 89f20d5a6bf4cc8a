"""Who may talk to the live page: its own origin, and off the loopback only with the token."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from svf_edge.errors import UnsupportedInput

LOOPBACK = "127.0.0.1"


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "[HOST:]PORT"; the host is the loopback unless given. Raises `UnsupportedInput`."""
    try:
        parts = urlsplit(f"//{text}" if ":" in text else f"//{LOOPBACK}:{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.username is not None:
        raise UnsupportedInput(f"--serve {text}: give a port, or host and port such as 0.0.0.0:8000")
    return host, port


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Gate:
    """Checks the headers of a request for the page at `host`:`port`."""

    host: str
    port: int
    token: str | None

    @classmethod
    def at(cls, host: str, port: int) -> Gate:
        """A gate with a fresh token, unless only this machine can reach it."""
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(16))

    @property
    def url(self) -> str:
        """What to open in a browser."""
        shown = socket.gethostname() if _is_any(self.host) else self.host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.port}/" + (f"?token={self.token}" if self.token is not None else "")

    def refusal(self, host: str | None, origin: str | None, token: str | None) -> str | None:
        """Why a request is refused, or None. `host` and `origin` are its headers, `token` that of its query.

        A page of another site could send the browser here under a name of its own (DNS rebinding), so the name asked
        for must be one of ours; and a browser says which page opened a stream, which must be this one.
        """
        if host is None or not self._is_ours(host):
            return f"this server is not called {host}"
        if origin is not None and origin != f"http://{host}":
            return f"pages of {origin} may not connect"
        if self.token is not None and not secrets.compare_digest((token or "").encode(), self.token.encode()):
            return "the token is missing or wrong; open the whole address that the program printed"
        return None

    def _is_ours(self, header: str) -> bool:
        try:
            parts = urlsplit(f"//{header}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if (port if port is not None else 80) != self.port:
            return False
        if is_loopback(self.host):
            return is_loopback(name)
        return name in (self.host.lower(), socket.gethostname().lower()) or _is_address(name)


def _is_any(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
