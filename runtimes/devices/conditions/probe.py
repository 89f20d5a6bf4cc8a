"""Asking a device many things in one round trip.

A probe is a script for any POSIX sh that prints sections, each a line `@@ name` and what a file or a command said.
What a device does not have leaves no section. Everything else is done here, by pure functions on that text.
"""

from __future__ import annotations

from svf_edge.runtimes.devices.transport import Transport

_MARK = "@@ "
_TOOLS = """f() { for p in "$@"; do [ -r "$p" ] || continue
printf '\\n@@ %s\\n' "$p"; tr '\\000' '\\n' < "$p" 2>/dev/null; done; }
c() { n=$1; shift; command -v "$1" >/dev/null 2>&1 && { printf '\\n@@ %s\\n' "$n"; "$@" 2>&1; }; }
"""


def ask(transport: Transport, script: str, *, doing: str, root: str = "") -> dict[str, str]:
    """Run a probe and return its sections.

    In `script`, `f FILE...` prints files, `c NAME COMMAND...` what a command says, and `{root}` stands for `root`.
    """
    return sections(transport.check(f"{_TOOLS}{rooted(script, root)}\ntrue", doing=doing))


def rooted(script: str, root: str) -> str:
    """`script` with the paths of system files below `root`, which is empty on a real device."""
    return script.replace("{root}", root)


def sections(text: str) -> dict[str, str]:
    """What a probe printed, by section name, without surrounding white space."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            lines = found.setdefault(line.removeprefix(_MARK), [])
        else:
            lines.append(line)
    return {name: "\n".join(body).strip() for name, body in found.items()}


def pairs(text: str, separator: str = ":") -> dict[str, str]:
    """Lines `key: value` (the first of each key), keys and values without surrounding white space or quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, there, value = line.partition(separator)
        if there:
            found.setdefault(key.strip(), value.strip().strip('"'))
    return found


def number(text: str | None) -> int | None:
    """A whole number, or None for anything else."""
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
