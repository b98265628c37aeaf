"""Compile every kernel before a socket opens, by reducing a tiny exposure of each kind."""

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
from msgspec.structs import replace

from refcache import FRAME_TYPES, Bias, Chosen, Dark, Flags, Flat, Linearity, ReferenceSet, Saturation, Sky
from rtcal.bands import Bands
from rtcal.buffers import Buffers
from rtcal.calibration import Calibration, Limits
from rtcal.config import CalibrationSettings, Detector, Mode, Settings
from rtcal.exposure import Exposure
from rtcal.kernels.combine import combine_rows
from rtcal.quality import compile_quality
from rtcal.ramp import Plan
from rtcal.spectrograph.arcfile import Arc
from rtcal.spectrograph.cube import CubeMaker, white_light
from rtcal.spectrograph.sky import oh_offset_px, sky_of
from rtcal.spectrograph.traces import Traces
from rtcal.survey import Survey, certain_glow
from streams import settings as settings_file
from streams.messages import Read, ReadHeader

SIDE = 16
READS = 6  # enough for every step of the jump test


def compile_kernels(settings: CalibrationSettings, bands: Bands) -> None:
    """Run every kernel once for every type of read, so that no live read waits for a compiler."""
    _compile_chain(settings, bands)
    _compile_rest()


def _compile_chain(settings: CalibrationSettings, bands: Bands) -> None:
    for dtype in ("<u2", "<f4"):
        for mode in get_args(Mode):
            _reduce_one(mode, dtype, settings, bands)
        _reduce_one("utr", dtype, settings, bands, by_signal=True)


def _compile_rest() -> None:
    compile_quality()
    _combine()
    _make_cubes()


def _reduce_one(
    mode: Mode, dtype: str, settings: CalibrationSettings, bands: Bands, *, by_signal: bool = False
) -> None:
    detector = Detector(gain_e_per_dn=2.0, read_noise_e=9.0, saturation_dn=50_000.0, reference_border=1, channels=2)
    reads = [_read(index, dtype) for index in range(READS)]
    calibration = Calibration.build(_references(), (SIDE, SIDE), 1)
    plan = Plan(
        mode, READS // 2, Limits(40_000.0, 0.0), detector, jump_sigma=5.0, reference_pixels=True, by_signal=by_signal
    )
    exposure = Exposure(reads[0], plan, calibration, Buffers.fit_for(reads[0], None), bands)
    for read in reads:
        exposure.add(read)
        if exposure.ramp is not None:
            exposure.preview(2, exposure.ramp)
    exposure.close_ramp()
    for bad_pixels in ("repair", "nan"):
        how = replace(settings, bad_pixels=bad_pixels)
        survey = Survey((SIDE, SIDE), SIDE // 2, certain_glow(np.arange(SIDE)))
        exposure.frame(how, survey, sequence=0, revision=0, final=True, published_ns=0)


def _combine() -> None:
    rates, flags = np.ones((3, SIDE, SIDE), np.float32), np.zeros((3, SIDE, SIDE), np.uint32)
    rate, err, dq = np.empty((SIDE, SIDE), np.float32), np.empty((SIDE, SIDE), np.float32), flags[0].copy()
    combine_rows(rates, rates, flags, np.ones(3, np.float32), True, np.uint32(0), rate, err, dq)


def _make_cubes() -> None:
    """Make a cube of each kind of profile, and find its sky lines."""
    for sigma in (0.0, 0.7):
        count = 3
        zeros = np.zeros(count, np.int64)
        traces = Traces(
            ident=np.arange(count),
            ix=np.arange(count),
            iy=zeros,
            column=zeros,
            length=zeros + SIDE,
            y=np.array([[3.0 + 3 * k, 0.0, 0.0] for k in range(count)]),
            sigma=np.full(count, sigma),
            height=np.full(count, 2.0),
        )
        series = np.tile([1.6, 0.1], (count, 1))
        maker = CubeMaker(Arc("warm-up", {}, traces, ("OK",) * count, series, (SIDE, SIDE)))
        plane = np.ones((SIDE, SIDE), np.float32)
        maker.extract(plane, plane, np.zeros((SIDE, SIDE), np.uint32))
        maker.white()
        cube = maker.finish()
        white_light(cube)
        oh_offset_px(sky_of(cube, np.ones(maker.field, bool)), cube.grid)


def _read(index: int, dtype: str) -> Read:
    header = ReadHeader(
        instrument="WARMUP",
        detector="WARMUP",
        sequence=index,
        time_ns=index * 10**9,
        exposure_id="warm-up",
        ramp=0,
        read=index,
        reads_planned=READS,
        frame_time_ns=10**9,
    )
    data = np.full((SIDE, SIDE), 1000 * (index + 1), dtype)
    data[3, 3] = 50_000
    data[5, 5] += 5_000 * (index > 3)  # a jump
    return Read(header, data)


def _references() -> ReferenceSet:
    plane, dq = np.ones((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.uint32)
    level, coefficients = plane * 40_000, np.ones((SIDE, 3, SIDE), np.float32)
    for array in (plane, dq, level, coefficients):
        array.setflags(write=False)  # as references are: the type that kernels are compiled for
    common: dict[str, Any] = {
        "name": "warm-up",
        "path": Path("warm-up"),
        "sha256": "",
        "useafter": "",
        "pedigree": "",
        "header": {},
        "dq": Flags.of(dq),
    }
    applied = [
        Dark(rate=plane, err=plane, **common),
        Sky(rate=plane, err=plane, **common),
        Flat(flat=plane, err=plane, **common),
        Bias(level=plane, **common),
        Saturation(level=level, **common),
        Linearity(coefficients=coefficients, valid_dn=50_000.0, **common),
    ]
    chosen = {reftype: Chosen(reftype, "MISSING", None, None, "") for reftype in FRAME_TYPES}
    chosen |= {one.reftype: Chosen(one.reftype, "OK", one, None, "") for one in applied}
    return ReferenceSet("", "", chosen)


def main() -> None:
    """Fill the cache of compiled kernels, so that a daemon started later finds them; by two processes, side by side."""
    if sys.argv[1:] == ["rest"]:
        _compile_rest()
        return
    settings = settings_file.load(None, Settings)
    rest = subprocess.Popen([sys.executable, "-m", "rtcal.warmup", "rest"])
    with Bands(1) as bands:
        _compile_chain(settings.calibration, bands)
    raise SystemExit(rest.wait())


if __name__ == "__main__":
    main()
