"""Where a device is: `local`, `ssh://user@host:port/folder` or `adb://serial/folder`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from svf_edge.errors import UnsupportedInput

# A name never starts with "-", so that no address is taken for an option of ssh or adb.
_NAME = r"[\w.%][\w.%-]*"
_FOLDER = r"(?P<folder>/[^\n]*)?"
_FORMS: dict[Literal["local", "ssh", "adb"], re.Pattern[str]] = {
    "local": re.compile(rf"local(?:://{_FOLDER})?"),
    "ssh": re.compile(rf"ssh://(?P<host>(?:{_NAME}@)?(?:{_NAME}|\[[0-9a-fA-F:.%\w]+\]))(?::(?P<port>\d+))?{_FOLDER}"),
    "adb": re.compile(rf"adb://(?P<host>(?:{_NAME}|\[[0-9a-fA-F:]+\])(?::\d+)?)?{_FOLDER}"),
}


@dataclass(frozen=True)
class Address:
    """A parsed address. `host` is `user@host` or a serial; `folder` is where svf-edge may put its files."""

    url: str
    kind: Literal["local", "ssh", "adb"]
    host: str
    port: int | None
    folder: str | None

    def __str__(self) -> str:
        return self.url


def parse_address(url: str) -> Address:
    """Take an address apart. Raises `UnsupportedInput` for anything else."""
    for kind, form in _FORMS.items():
        match = form.fullmatch(url)
        if match is None:
            continue
        parts = match.groupdict()
        port = int(parts["port"]) if parts.get("port") else None
        if port is not None and not 0 < port < 65536:
            raise UnsupportedInput(f"{url}: port {port} does not exist; ports are 1 to 65535")
        folder = parts["folder"]
        return Address(url, kind, parts.get("host") or "", port, folder.rstrip("/") or "/" if folder else None)
    raise UnsupportedInput(
        f"'{url}' is no device; write local, ssh://user@host, ssh://user@host:port or adb://serial "
        "(`adb devices` lists serials), each with an optional /folder behind it"
    )
