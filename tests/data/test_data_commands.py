"""`svf-edge data` through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from svf_edge import cli
from svf_edge.data.commands import Kind, Layout


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and everything that `svf-edge data arguments` prints."""
    monkeypatch.setattr("sys.argv", ["svf-edge", "data", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    code = stopped.value.code
    said = capsys.readouterr()
    return (code if isinstance(code, int) else 0), said.out + said.err


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `data write` leaves, for every layout."""
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        for layout in Layout.__args__:  # type: ignore[attr-defined]
            arguments = ["write", layout, str(folder / layout), "--clips", "2", "--frames", "7", "--size", "64x64"]
            patch.setattr("sys.argv", ["svf-edge", "data", *arguments])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
            assert not stopped.value.code
    return folder


@pytest.mark.parametrize(
    ("kind", "layout", "clips"),
    [("mmhpsd", "mmhpsd", 2), ("eventhpe", "eventhpe", 2), ("dhp19", "dhp19", 2)],
)
def test_a_written_set_is_in_order(
    sets: Path, kind: Kind, layout: str, clips: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six event frames make two clips of four: the second overlaps, so that every file is read."""
    code, said = run(monkeypatch, capsys, "check", kind, sets / layout, "--frames", 4, "--size", "64x64")
    assert code == 0, said
    rows = [line.split("│")[1:-1] for line in said.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row[:3]] for row in rows] == [
        [s, str(clips), str(clips)] for s in ("train", "val")
    ]
    assert all(row[-1].strip() == "0" for row in rows)
    assert ("no joint has a 2-D label" in said) == (kind == "dhp19")


@pytest.mark.parametrize("layout", ["coco", "coco-images"])
def test_coco_is_checked_by_its_annotations(
    sets: Path, layout: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    media = sets / layout / ("videos" if layout == "coco" else "images")
    labels = sets / layout / "annotations.json"
    arguments = ["check", "coco", media, "-a", labels, "--frames", 3, "--option"]
    code, said = run(monkeypatch, capsys, *arguments, f"val_annotations={labels}")
    assert code == 0, said
    assert said.count(" 6 ") == 4  # three clips of seven frames in each of two videos, in both splits
    code, said = run(monkeypatch, capsys, *arguments, "val_share=0")
    assert code == 1 and "no clip of 3 frames for split 'val'" in said


def test_every_damaged_file_is_reported_and_the_rest_is_read(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(sets / "mmhpsd", tmp_path / "set"))
    train = folder / "mmhpsd_events/subject03_group1_time2"
    last = train / "events_frame_04/events_0005.npz"
    last.write_bytes(last.read_bytes()[:-30])
    (folder / "mmhpsd_events/subject01_group1_time1/poses/pose_0000.npz").write_bytes(b"nothing")
    code, said = run(monkeypatch, capsys, "check", "mmhpsd", folder, "--frames", 4, "--size", "64x64")
    assert code == 1
    problems = [line for line in said.splitlines() if line.startswith("problem")]
    assert len(problems) == 2
    assert "problem (train):" in problems[0] and "events_0005.npz: not a readable .npz file" in problems[0]
    assert "problem (val):" in problems[1] and "pose_0000.npz: not a readable .npz file" in problems[1]
    (train / "poses/pose_0002.npz").unlink()
    code, said = run(monkeypatch, capsys, "check", "mmhpsd", folder, "--frames", 2, "--size", "64x64")
    assert code == 1 and "poses 2 are missing" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "dhp19", "gone"], "gone: no such folder; give the folder that holds S1_session1"),
        (["check", "mmhpsd", ".", "--option", "gapps=[1]"], "mmhpsd.gapps: Extra inputs are not permitted"),
        (["check", "mmhpsd", ".", "--option", "gaps"], "--option gaps: write KEY=VALUE"),
        (["check", "mmhpsd", ".", "-a", "x.json"], "--annotations is for coco"),
        (["check", "mmhpsd", ".", "--size", "128"], "--size 128: give height and width"),
        (["write", "mmhpsd", "."], "exists and is not an empty folder"),
        (["write", "mmhpsd", "new", "--size", "32x64"], "this format's frames are square"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 1
    assert sentence in said
