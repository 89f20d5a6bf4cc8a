"""Print the requirements of svf-edge with the given extras and all dependency groups, one a line.

The package itself is built without isolation against what is installed, so its requirements go in first.

    python tools/requirements.py all,tensorrt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))


def expand(extra: str) -> list[str]:
    """Requirements of one extra, references to other extras of ours followed."""
    found = []
    for requirement in PROJECT["project"]["optional-dependencies"][extra]:
        own = re.fullmatch(r"svf-edge\[(.+)]", requirement)
        found += [item for name in own[1].split(",") for item in expand(name)] if own else [requirement]
    return found


def main() -> None:
    requirements = list(PROJECT["project"]["dependencies"])
    for extra in sys.argv[1].split(","):
        requirements += expand(extra)
    for group in PROJECT["dependency-groups"].values():
        requirements += group
    print("\n".join(dict.fromkeys(requirements)))


if __name__ == "__main__":
    main()
