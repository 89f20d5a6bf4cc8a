"""What docs/tracking.md tells its reader to write works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line) for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S) for line in block.splitlines()
]
CLI = (sys.executable, "-c", "from svf_edge.cli import main; main()")
CLIP = str(ROOT / "svf_edge/assets/clips/walk.mp4")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def words(command: list[str]) -> list[str]:
    """The command here: the shipped clip for the camera, a free port, this interpreter."""
    assert command[:2] == ["svf-edge", "track"]
    replaced = {"0": CLIP, "svf_edge/assets/clips/walk.mp4": CLIP, "8000": "0"}
    return [*CLI, "track", *(replaced.get(word, word) for word in command[2:])]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    if "--serve" not in command and "--headless" not in command:
        pytest.importorskip("pygame", reason="needs pygame-ce (extra track)")
    process = subprocess.Popen(words(command), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    if "--serve" in command:
        lines_said = iter(process.stderr.readline, "")
        url = next(line for line in lines_said if line.startswith("live page: ")).split()[-1]
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"Firing rates" in answer.read()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    if "--json" in command:
        *lines, last = (tmp_path / "poses.jsonl").read_text().splitlines()
        assert len(lines) == 96 and json.loads(last)["summary"]["frames"] == 96
        named = re.findall(r"`(\w+)`", TEXT.partition("A line holds")[2].partition("`--json -`")[0])
        assert set(json.loads(lines[0])) == set(named) - {"svf_edge"}
    if "--save" in command:
        assert (tmp_path / "overlay.mp4").stat().st_size > 50_000


def test_the_python_example(tmp_path: Path) -> None:
    [script] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("onnxruntime packed True")


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links and all((ROOT / "docs" / link).exists() for link in links)


def test_numbers_of_the_rule_are_those_of_the_code() -> None:
    from svf_edge.runtimes.tracking.capture import PATIENCE
    from svf_edge.runtimes.tracking.crop import FollowRule
    from svf_edge.runtimes.tracking.sources import SILENCE

    rule = FollowRule()
    for sentence in (
        f"score of at least {rule.joint_score} with a margin ({rule.margin} times their extent)",
        f"goes {rule.gain} of the way",
        f"set in motion by a difference of {100 * rule.start:.0f} % and rests again within {100 * rule.stop:.0f} %",
        f"After {rule.patience} frames with a mean score below {rule.lost}",
        f"tried for {rule.patience} frames each until one gives a mean score of {rule.found}",
        f"camera unplugged or silent for {PATIENCE:.0f} seconds",
        f"cut off or silent for {SILENCE:.0f} seconds",
    ):
        assert sentence in " ".join(TEXT.split()), sentence
