"""A small publisher for the display's tests: star fields as frames, previews and status on real sockets."""

from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from rtcal.survey import survey_of
from streams import wire
from streams.clock import NS, SystemClock
from streams.dq import Dq
from streams.messages import (
    Binned,
    Cube,
    CubeHeader,
    DetectorStatus,
    Frame,
    FrameHeader,
    Message,
    Preview,
    PreviewHeader,
    Provenance,
    Status,
    StatusHeader,
    White,
    WhiteHeader,
)

SATURATED_AT = (40, 25)
"""A pixel (x, y) of every frame that is SATURATED and had a JUMP_DET."""
SETUP: dict[str, str | int | float | bool] = {"FILTER": "Kbb", "DETECTOR": "IMG1", "READMODE": "UTR"}


def references() -> list[Provenance]:
    return [
        Provenance(reftype="dark", status="OK", name="iris_img1_dark_0004.fits", age_s=7200.0),
        Provenance(reftype="badpix", status="STALE", name="iris_img1_badpix_0001.fits", age_s=3.6e6),
        Provenance(reftype="sky", status="MISSING", note="no sky for Kbb"),
        Provenance(reftype="flat", status="NA"),
    ]


def star_field(side: int, seed: int) -> NDArray[np.float32]:
    """Return a rate image [e-/s]: sky with a gradient, and stars with a core and a halo."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    rate = 29 + 2 * x / side + rng.normal(0, 2.0, (side, side)).astype(np.float32)
    for flux in 40 * rng.pareto(1.1, side // 12) + 60:
        x0, y0 = rng.uniform(0, side, 2)
        reach = 60
        box = (slice(max(0, int(y0) - reach), int(y0) + reach), slice(max(0, int(x0) - reach), int(x0) + reach))
        r2 = (x[box] - x0) ** 2 + (y[box] - y0) ** 2
        rate[box] += min(flux, 2e5) * (0.7 * np.exp(-r2 / 4.5) + 0.02 / (1 + r2 / 80) ** 2)
    return rate.astype(np.float32)


def make_frame(
    detector: str = "IMG1", sequence: int = 0, side: int = 256, data: NDArray[Any] | None = None, **header: Any
) -> Frame:
    now = SystemClock().tai_ns()
    pixels = star_field(side, sequence) if data is None else data.astype(np.float32)
    dq = np.zeros(pixels.shape, np.uint32)
    if min(pixels.shape) > max(SATURATED_AT):
        dq[SATURATED_AT[1], SATURATED_AT[0]] = Dq.SATURATED | Dq.JUMP_DET
    fields: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": detector,
        "sequence": sequence,
        "time_ns": now - NS,
        "exposure_id": f"2026B-{sequence:04d}",
        "ramps": 1,
        "ramps_planned": 2,
        "reads_planned": 8,
        "mode": "utr",
        "effective_s": 5.04,
        "first_read_ns": now - 6 * NS,
        "published_ns": now,
        "reads_used": 7,
        "reads_lost": 1,
        "reads_rejected": 0,
        "complete": True,
        "final": False,
        "gain_e_per_dn": 3.04,
        "read_noise_e": 9.0,
        "saturation_dn": 34600.0,
        "sky_scale": 1.02,
        "setup": SETUP,
        "references": references(),
        "crds_context": "tmt_0001.pmap",
        "notes": ["read 4 was lost"],
    }
    return Frame(
        FrameHeader(**(fields | header)),
        pixels,
        np.sqrt(np.maximum(pixels, 1) / 5).astype(np.float32),
        dq,
        np.full(pixels.shape, 65535, np.uint16),
    )


def make_binned(frame: Frame, pixels: int = 64) -> Binned:
    """Return what the daemon sends before a frame."""
    binned = survey_of(frame, pixels).binned(frame)
    assert binned is not None, f"{frame.data.shape} fits {pixels} as it is"
    return binned


def make_preview(
    detector: str = "IMG1",
    sequence: int = 0,
    side: int = 256,
    binning: int = 4,
    rate: NDArray[Any] | None = None,
    **header: Any,
) -> Preview:
    now = SystemClock().tai_ns()
    pixels = star_field(side // binning, sequence) if rate is None else rate.astype(np.float32)
    fields: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": detector,
        "sequence": sequence,
        "time_ns": now,
        "exposure_id": f"2026B-{sequence // 8:04d}",
        "ramp": 0,
        "read": sequence % 8,
        "ramps_planned": 2,
        "reads_planned": 8,
        "reads_used": sequence % 8 + 1,
        "reads_lost": 0,
        "effective_s": 0.72 * (sequence % 8),
        "binning": binning,
        "full_shape": (pixels.shape[0] * binning, pixels.shape[1] * binning),
        "published_ns": now,
        "setup": SETUP,
    }
    return Preview(PreviewHeader(**(fields | header)), (5000 + pixels).astype(np.float32), pixels)


def make_cube(detector: str = "IFS", sequence: int = 0, bins: int = 120, field: tuple[int, int] = (44, 45)) -> Cube:
    """Return a cube: a continuum source with an emission line, on sky."""
    now = SystemClock().tai_ns()
    rng = np.random.default_rng(sequence)
    y, x = np.mgrid[: field[0], : field[1]].astype(np.float32)
    source = np.exp(-((x - field[1] * 0.45) ** 2 + (y - field[0] * 0.55) ** 2) / 18)
    line = np.exp(-((np.arange(bins) - bins * 0.4) ** 2) / 8)
    data = 2 + source * (10 + 40 * line[:, None, None]) + rng.normal(0, 0.3, (bins, *field))
    header = CubeHeader(
        instrument="IRIS",
        detector=detector,
        sequence=sequence,
        time_ns=now - NS,
        exposure_id=f"2026B-{sequence:04d}",
        ramps=1,
        final=True,
        wave_first_um=1.98,
        wave_step_um=0.0036,
        bins=bins,
        field=field,
        scale_mas=25.0,
        status="OK",
        arc=Provenance(reftype="arc", status="OK", name="iris_ifs_arc_0001.fits"),
        effective_s=60.0,
        first_read_ns=now - 60 * NS,
        published_ns=now,
        setup=SETUP,
    )
    err = np.full(data.shape, 0.3, np.float32)
    return Cube(header, data.astype(np.float32), err, np.zeros(data.shape, np.uint32))


def make_white(cube: Cube) -> White:
    """Return the white light that comes before a cube: brighter than its mean by a sky of 5."""
    header = WhiteHeader(**msgspec.structs.asdict(cube.header))
    mean = cube.data.mean(axis=0, dtype=np.float64) + 5.0
    return White(header, mean.astype(np.float32), np.full(mean.shape, 0.1, np.float32))


def make_status(sequence: int = 0, period_s: float = 1.0, detectors: tuple[str, ...] = (), **header: Any) -> Status:
    now = SystemClock().tai_ns()
    detector = DetectorStatus(
        exposure_id="2026B-0001", read=3, reads_planned=8, latency_s=0.31, counters={"reads": 40, "reads_lost": 1}
    )
    fields: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": "ALL",
        "sequence": sequence,
        "time_ns": now,
        "state": "running",
        "started_ns": now,
        "period_s": period_s,
        "software": "rtcal 0.1.0",
        "crds_context": "tmt_0001.pmap",
        "counters": {"reads_received": 40, "gaps": 0},
        "detectors": dict.fromkeys(detectors, detector),
    }
    return Status(StatusHeader(**(fields | header)))


class Publisher:
    """Two PUB sockets as the daemon has them, on ports that the system chose or on those of an earlier one."""

    def __init__(self, endpoints: dict[str, str] | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sockets = {name: self._context.socket(zmq.XPUB) for name in ("frames", "previews")}
        self.endpoints = {}
        for name, socket in self.sockets.items():
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # tell of every subscription, also of one that is not new
            socket.bind(endpoints[name] if endpoints else "tcp://127.0.0.1:*")
            self.endpoints[name] = socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()

    def wait_for_subscribers(self, timeout_ms: int = 20_000, names: tuple[str, ...] = ("frames", "previews")) -> None:
        """Return when a subscription has arrived on each socket: what is sent from now on is received."""
        for name in names:
            socket = self.sockets[name]
            subscribed = False
            while not subscribed:
                if not socket.poll(timeout_ms):
                    raise TimeoutError(f"nobody subscribed to {name}")
                subscribed = socket.recv().startswith(b"\x01")  # b"\x00" is the end of an earlier one

    def send(self, message: Message) -> None:
        self.send_parts("frames" if isinstance(message, Frame | Cube) else "previews", list(wire.encode(message)))

    def send_parts(self, name: str, parts: list[Any]) -> None:
        self.sockets[name].send_multipart(parts)

    def close(self) -> None:
        for socket in self.sockets.values():
            socket.close()
        self._context.term()
