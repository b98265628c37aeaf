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
from rtcal.buffers import allocate_state, clear
from rtcal.estimator import Timeline, slope_of
from rtcal.kernels.finish import Noise
from rtcal.kernels.planes import Sample
from rtcal.steps import Chain, Inputs, JumpTest
from rtcal.survey import Survey

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
    state, out = allocate_state(shape), steps.output(shape)
    times_s = np.arange(len(cube), dtype=np.float64) * FRAME_TIME_S
    static_dq = np.zeros(shape, np.uint32)
    for array in (cube, static_dq):
        array.setflags(write=False)
    levels, curve = steps.levels_of(CEILING_DN, 0.0, cube.dtype, shape[1]), steps.straight(shape[1])
    chain, nothing = Chain(levels, curve, test), steps.nothing(shape[1])
    noise = Noise(np.float32(GAIN_E_PER_DN), np.float32(READ_NOISE_E**2), cube[0], curve)

    def fit() -> NDArray[Any]:
        clear(state)
        timeline, samples = Timeline(), list[Sample]()
        steps.open_ramp(state, bands)
        for index, (read, time_s) in enumerate(zip(cube, times_s, strict=True)):
            timeline.append(time_s)
            samples = [steps.sample(read), *samples[:2]]
            last = index == len(cube) - 1
            steps.add_read(state, chain, samples, cube[0], timeline, index, bands, closes=last)
        estimate = steps.estimate_of(state, None, slope_of(times_s), len(cube), GAIN_E_PER_DN, gathered=False)
        one = steps.flat_row(1, shape[1])
        inputs = Inputs(estimate, noise, static_dq, 0, nothing, nothing, one, nothing.rate)
        steps.finish_frame(state, inputs, np.inf, "keep", out, bands, Survey(shape, max(shape)))
        return out.rate

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
