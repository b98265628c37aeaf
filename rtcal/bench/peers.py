"""Other packages on the same ramp; each is left out where it is not installed.

Nobody's defaults are touched: stcal's fit also gives two variances, numpy's works in float64. Both take the
whole ramp at its end; ours has added each read when it came.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtcal import steps
from rtcal.bands import Bands
from rtcal.bench.scene import CEILING_DN, FRAME_TIME_S, GAIN_E_PER_DN, READ_NOISE_E, READS, TEST
from rtcal.estimator import Timeline
from rtcal.steps import JumpTest

Cube = NDArray[np.uint16]
Fit = Callable[[], NDArray[Any]]

STCAL_FLAGS = {
    "DO_NOT_USE": 1,
    "SATURATED": 2,
    "JUMP_DET": 4,
    "PERSISTENCE": 32,
    "CHARGELOSS": 128,
    "NO_GAIN_VALUE": 1 << 19,
    "UNRELIABLE_SLOPE": 1 << 24,
}


@dataclass
class Peer:
    """What a package takes for a ramp: the shortest time, in ms for a million pixels and a read."""

    name: str
    ms: float = float("inf")


def make_ramp(size: int, seed: int = 1) -> Cube:
    """Return a ramp of ten reads, (read, y, x) [DN]."""
    rng = np.random.default_rng(seed)
    rate_dn = rng.uniform(20.0, 200.0, (size, size))
    noise_dn = READ_NOISE_E / GAIN_E_PER_DN
    reads = [5000 + rate_dn * i * FRAME_TIME_S + rng.normal(0, noise_dn, rate_dn.shape) for i in range(READS)]
    return np.array(reads).astype(np.uint16)


def ours(cube: Cube, bands: Bands, test: JumpTest | None = None) -> Fit:
    """Return our fit of a ramp: every read added, then the slope [e-/s], on buffers that are there already.

    With a test the ramp is searched for jumps too, which the fits of the others leave to a step before them.
    """
    shape = (cube.shape[1], cube.shape[2])
    planes, sums = steps.RampPlanes.allocate(shape, cube.dtype), steps.ExposureSums.allocate(shape)
    times_s = np.arange(len(cube), dtype=np.float64) * FRAME_TIME_S
    cube.setflags(write=False)
    none, limits = steps.BorderTerms.none(shape), steps.Limits(CEILING_DN, 0.0)

    def fit() -> NDArray[Any]:
        sums.clear()
        timeline = Timeline()
        steps.start_ramp(planes, cube[0], bands, ends=False)
        for index, (read, time_s) in enumerate(zip(cube, times_s, strict=True)):
            timeline.append(time_s)
            steps.mark_limits(planes, sums, read, limits, index, index, bands)
            steps.add_read(planes, sums, read, none, timeline, test, bands, keep=False)
        steps.close_ramp(planes, sums, timeline, None, GAIN_E_PER_DN, test, bands)
        return np.asarray(sums.w_rate / sums.w_sum)

    return fit


def polyfit(cube: Cube) -> Fit:
    """Return numpy's fit of a straight line to all pixels at once [e-/s]."""
    times_s = np.arange(len(cube)) * FRAME_TIME_S

    def fit() -> NDArray[Any]:
        flat = cube.reshape(len(cube), -1).astype(np.float64)
        return np.asarray(np.polyfit(times_s, flat, 1)[0].reshape(cube.shape[1:]) * GAIN_E_PER_DN)

    return fit


def stcal_ols_c(cube: Cube) -> Fit:
    """Return the ramp fit of stcal, algorithm OLS_C, as the pipelines of JWST and Roman call it [e-/s].

    Raises
    ------
    ImportError
        If stcal is not installed.
    """
    ramp_fit = importlib.import_module("stcal.ramp_fitting.ramp_fit")
    ramp_class = importlib.import_module("stcal.ramp_fitting.ramp_fit_class")
    shape = cube.shape[1:]
    gain = np.full(shape, GAIN_E_PER_DN, np.float32)
    noise_dn = np.full(shape, READ_NOISE_E * np.sqrt(2) / GAIN_E_PER_DN, np.float32)  # of a difference of two reads

    def fit() -> NDArray[Any]:
        data = ramp_class.RampData()
        group_dq, pixel_dq = np.zeros((1, *cube.shape), np.uint8), np.zeros(shape, np.uint32)
        data.set_arrays(cube[None].astype(np.float32), group_dq, pixel_dq, np.zeros(shape, np.float32))
        data.set_meta(
            name="IRIS", frame_time=FRAME_TIME_S, group_time=FRAME_TIME_S, groupgap=0, nframes=1, drop_frames1=0
        )
        data.algorithm = "OLS_C"
        data.set_dqflags(STCAL_FLAGS)
        data.start_row, data.num_rows = 0, shape[0]
        image = ramp_fit.ramp_fit_data(data, False, noise_dn.copy(), gain.copy(), "OLS_C", "optimal", "none")[0]
        return np.asarray(image["slope"]) * GAIN_E_PER_DN

    return fit


def measure_peers(
    size: int, rounds: int, bands: Bands, tick: Callable[[], None] = lambda: None
) -> tuple[list[Peer], list[str]]:
    """Time our ramp and those of other packages, in turn.

    Parameters
    ----------
    size
        Pixels on a side of the ramp.
    rounds
        How often each runs; the shortest time counts.
    bands
        The pool for ours; the others use one thread.
    tick
        Called after each fit.

    Returns
    -------
    tuple
        The peers, ours first, and a line for each that is missing.
    """
    cube = make_ramp(size)
    makers: dict[str, Callable[[], Fit]] = {
        "rtcal": partial(ours, cube, bands),
        "rtcal, jumps found": partial(ours, cube, bands, TEST),
        "numpy.polyfit": partial(polyfit, cube),
        "stcal OLS_C": partial(stcal_ols_c, cube),
    }
    fits, missing = {}, []
    for name, make in makers.items():
        try:
            fits[name] = make()
        except ImportError as error:
            missing.append(f"{name} is left out: {error}; pip install 'iris-rtcal[test]' brings it")
    for name in ("rtcal", "rtcal, jumps found"):
        fits[name]()  # compiles
    peers = {name: Peer(name) for name in fits}
    for _ in range(rounds):
        for name, fit in fits.items():
            began_ns = time.perf_counter_ns()
            fit()
            elapsed_ms = (time.perf_counter_ns() - began_ns) / 1e6
            peers[name].ms = min(peers[name].ms, elapsed_ms / (cube.size / 1e6))
            tick()
    return list(peers.values()), missing
