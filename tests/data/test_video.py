import builtins
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from svf_edge.data.video import iter_clips, read_clip
from svf_edge.errors import BadFile, MissingPackage, SvfError, UnsupportedInput
from svf_edge.shipped import CLIP


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 frames of 96x64, frame i being grey level 20 * i, with a red left and a blue right quarter."""
    path = tmp_path_factory.mktemp("video") / "ramp.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        for i in range(11):
            pixels = np.full((64, 96, 3), 20 * i, np.uint8)
            pixels[:, :16] = (255, 0, 0)
            pixels[:, 80:] = (0, 0, 255)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def test_frames_start_and_stride(ramp: Path) -> None:
    clip = read_clip(ramp, 3, (32, 32), start=2, stride=4)
    assert clip.dtype == np.uint8
    assert clip.shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(clip[:, 1, 16, 16], [40, 120, 200])


def test_a_wide_frame_is_cropped_around_its_centre(ramp: Path) -> None:
    square = read_clip(ramp, 1, (64, 64), start=5)[0]
    assert (square == 100).all()  # the coloured sides are 16 pixels each, exactly what goes
    whole = read_clip(ramp, 1, (64, 96), start=5)[0]
    np.testing.assert_array_equal(whole[:, 10, 4], [255, 0, 0])
    np.testing.assert_array_equal(whole[:, 10, 92], [0, 0, 255])
    flat = read_clip(ramp, 1, (16, 96), start=5)[0]
    assert flat.shape == (3, 16, 96)
    np.testing.assert_array_equal(flat[:, 8, 4], [255, 0, 0])


def test_a_phone_video_is_upright(tmp_path: Path) -> None:
    """The file says "turn by 90 degrees clockwise to show": its left side becomes the top."""
    path = tmp_path / "portrait.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:, :32] = 255
        out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # ISO 14496-12, 8.3.2: nine 32-bit words, rows (a, b, u), (c, d, v), (x, y, w)
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(word.to_bytes(4, "big", signed=True) for word in turn)
    path.write_bytes(content)
    shown = read_clip(path, 1, (32, 32))[0, 0]
    assert shown[:14].min() > 200 and shown[18:].max() < 50


def test_windows_do_not_overlap(ramp: Path) -> None:
    windows = list(iter_clips(ramp, 3, (8, 8)))
    assert [int(w[0, 0, 4, 4]) for w in windows] == [0, 60, 120]
    np.testing.assert_array_equal(windows[1], read_clip(ramp, 3, (8, 8), start=3))
    strided = list(iter_clips(ramp, 2, (8, 8), stride=3))
    assert [w[:, 0, 4, 4].tolist() for w in strided] == [[0, 60], [120, 180]]


def test_the_shipped_clip_reads_and_moves() -> None:
    clip = read_clip(CLIP, 8, (64, 64), stride=4)
    assert clip.shape == (8, 3, 64, 64)
    assert 60 < clip.mean() < 200
    assert np.abs(np.diff(clip.astype(int), axis=0)).mean() > 3
    assert sum(1 for _ in iter_clips(CLIP, 4, (64, 64))) == 24
    assert CLIP.stat().st_size < 500_000


@pytest.mark.parametrize("content", [b"", b"this is not a video at all", bytes(5000)])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"notes\.mp4"):
        read_clip(path, 1, (8, 8))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"gone\.mp4 is not a file"):
        read_clip(tmp_path / "gone.mp4", 1, (8, 8))
    with pytest.raises(BadFile, match="is not a file"):
        next(iter_clips(tmp_path, 1, (8, 8)))


def test_a_truncated_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(CLIP.read_bytes()[:60_000])
    with pytest.raises(BadFile, match=r"cut\.mp4"):
        read_clip(path, 90, (8, 8))


def test_a_short_video_names_what_it_needs(ramp: Path) -> None:
    with pytest.raises(BadFile, match=r"need 13 frames, of which only 3"):
        read_clip(ramp, 4, (8, 8), stride=4)
    with pytest.raises(BadFile, match="needs 12 frames at stride 1 and the video gives 11"):
        list(iter_clips(ramp, 12, (8, 8)))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(BadFile, match="no video stream"):
        read_clip(path, 1, (8, 8))


@pytest.mark.parametrize("bad", [{"frames": 0}, {"start": -1}, {"stride": 0}, {"size": (0, 8)}])
def test_bad_arguments(ramp: Path, bad: dict[str, object]) -> None:
    arguments: dict[str, object] = {"frames": 1, "size": (8, 8)} | bad
    with pytest.raises(UnsupportedInput):
        read_clip(ramp, **arguments)  # type: ignore[arg-type]


def test_missing_pyav_names_the_extra(ramp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_av(name: str, *rest: object) -> object:
        if name == "av":
            raise ModuleNotFoundError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "av")
    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(MissingPackage, match=r"svf-edge\[video\]") as caught:
        read_clip(ramp, 1, (8, 8))
    assert isinstance(caught.value, SvfError)
