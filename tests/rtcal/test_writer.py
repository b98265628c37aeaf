"""Frames to real files, on a thread, with a disk that fails."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from astropy.io import fits
from msgspec.structs import replace

from rtcal import writer as writer_module
from rtcal.products import file_name
from rtcal.writer import WAITING_FRAMES, FrameWriter
from streams.errors import ImageError
from streams.messages import Frame
from tests.samples import SAMPLES

CLOSE_S = 30.0


def frame(number=1, **changes):
    sample = SAMPLES["frame"]
    header = replace(sample.header, exposure_id=f"E-{number}", **{"final": True, **changes})
    return Frame(header, sample.data, sample.err, sample.dq, sample.saturated_from)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond a few bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_final_frames_are_written_and_others_left_to_the_ramps_that_follow(tmp_path):
    writer = FrameWriter(tmp_path / "new" / "frames", every_ramp=False)
    writer.put(frame(1, ramps=1, final=False))
    writer.put(frame(1, ramps=2, final=True))
    assert writer.close(CLOSE_S)
    assert names(tmp_path / "new" / "frames") == ["E-1_IMG1.fits"]
    with fits.open(tmp_path / "new" / "frames" / "E-1_IMG1.fits") as hdus:
        assert hdus["DATA"].data.shape == (2, 2)
    assert writer.counters["frames_written"] == 1
    assert writer.problem == ""


def test_with_every_ramp_each_revision_has_a_file(tmp_path):
    writer = FrameWriter(tmp_path, every_ramp=True)
    for ramps in (1, 2, 3):
        writer.put(frame(1, ramps=ramps, final=ramps == 3))
    assert writer.close(CLOSE_S)
    assert names(tmp_path) == ["E-1_IMG1.fits", "E-1_IMG1_r001.fits", "E-1_IMG1_r002.fits"]


def test_a_full_disk_is_counted_and_said_nothing_written_before_is_damaged_and_it_goes_on(tmp_path, monkeypatch):
    really, problems = writer_module.write_frame, []

    def write(a_frame, directory):
        problems.append(writer.problem)
        with full_disk() if a_frame.header.revision == 5 else nullcontext():
            return really(a_frame, directory)

    monkeypatch.setattr(writer_module, "write_frame", write)
    writer = FrameWriter(tmp_path, every_ramp=False)
    writer.put(frame(1))
    writer.put(frame(1, revision=5, reads_used=3))
    writer.put(frame(2, revision=5))
    writer.put(frame(3))
    assert writer.close(CLOSE_S)
    assert writer.counters == {"frames_written": 2, "frames_not_written": 2}
    assert problems[:2] == ["", ""]
    for problem, name in zip(problems[2:], ("E-1", "E-2"), strict=True):
        assert problem.startswith(f"frame {name} was not written: ")
        assert "File too large" in problem
        assert str(tmp_path) in problem
    assert writer.problem == ""
    assert names(tmp_path) == ["E-1_IMG1.fits", "E-3_IMG1.fits"]
    with fits.open(tmp_path / "E-1_IMG1.fits", checksum=True) as hdus:
        assert hdus[0].header["NREADS"] == frame(1).header.reads_used


def test_a_disk_that_is_too_slow_loses_frames_not_reads(tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()
    really = writer_module.write_frame

    def slow(a_frame, directory):
        begun.set()
        assert go_on.wait(CLOSE_S)
        return really(a_frame, directory)

    monkeypatch.setattr(writer_module, "write_frame", slow)
    writer = FrameWriter(tmp_path, every_ramp=False)
    writer.put(frame(0))
    assert begun.wait(CLOSE_S)
    for number in range(1, WAITING_FRAMES + 3):
        writer.put(frame(number))  # returns at once
    assert writer.counters["frames_not_written"] == 2
    assert writer.problem == f"disk too slow: frame E-{WAITING_FRAMES + 2} was not written"
    assert not writer.close(0.01)
    go_on.set()
    assert writer.close(CLOSE_S)
    assert writer.counters["frames_written"] == WAITING_FRAMES + 1


def test_a_fault_while_writing_costs_one_frame(tmp_path, monkeypatch, caplog):
    really = writer_module.write_frame

    def faulty(a_frame, directory):
        if a_frame.header.exposure_id == "E-1":
            raise KeyError("a bug")
        return really(a_frame, directory)

    monkeypatch.setattr(writer_module, "write_frame", faulty)
    writer = FrameWriter(tmp_path, every_ramp=False)
    writer.put(frame(1))
    writer.put(frame(2))
    assert writer.close(CLOSE_S)
    assert names(tmp_path) == [file_name(frame(2).header)]
    assert writer.counters == {"frames_written": 1, "frames_not_written": 1}
    assert "a bug" in caplog.text


def test_a_directory_that_cannot_be_is_said_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"file/frames: cannot be made: .*; choose another directory"):
        FrameWriter(tmp_path / "file" / "frames", every_ramp=False)
