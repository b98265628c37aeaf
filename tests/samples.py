"""One fixed message of each kind (the golden files hold their bytes), and reads made to order."""

from pathlib import Path
from typing import Any

import numpy as np

from streams import wire
from streams.messages import (
    AdcResidual,
    Binned,
    BinnedHeader,
    Cube,
    CubeHeader,
    DetectorStatus,
    Frame,
    FrameHeader,
    GuideStars,
    Message,
    Observe,
    ObserveHeader,
    Preview,
    PreviewHeader,
    Provenance,
    Quality,
    Read,
    ReadHeader,
    Spectrum,
    SpectrumHeader,
    Status,
    StatusHeader,
    Telemetry,
    TelemetryHeader,
    TelemetryRow,
    White,
    WhiteHeader,
)
from streams.recording import frame_parts
from streams.targets import Offset

OFFSET = Offset(
    request="1f00aa", detector="IMG1", exposure_id="E-1", method="centroid", x=70.25, y=90.5, reference_x=63.5,
    reference_y=63.5, instrument_x_arcsec=0.027, instrument_y_arcsec=0.108, east_arcsec=-0.027, north_arcsec=0.108,
)  # fmt: skip
GOLDEN = Path(__file__).parent / "streams" / "golden"
TIME_NS = 1_928_473_200_123_456_789
FRAME_NS = 720_000_000
SETUP = {"DETECTOR": "IMG1", "FILTER": "H", "READMODE": "UTR", "XSIZE": 4, "SUBARRAY": "FULL"}
LOOP = TelemetryRow(key="NFIRAOS.rtc.loop", param="ho", fits="AOLOOPHO", status="MISSING", ramp=1, read=0)
ANGLE = TelemetryRow(
    key="TCS.cmIRIS.positionAngle",
    param="positionAngle",
    fits="PA",
    time_ns=TIME_NS,
    value=12.5,
    unit="deg",
    age_s=0.25,
    status="OK",
)
RESIDUAL = AdcResidual(
    status="OK",
    atmosphere="TCS",
    air="DEFAULT",
    reference_um=1.65,
    zenith_deg=60.0,
    orientation_deg=30.0,
    atmosphere_mas=48.6,
    wavelength_um=[1.5, 1.75],
    weight=[0.5, 0.5],
    x_mas=[0.25, -0.25],
    y_mas=[0.125, -0.125],
    edge_mas=[0.5, 0.25],
    shift_mas=[0.0, 0.0],
    rms_mas=0.28,
    axis_deg=26.5,
    elongation_mas=0.66,
    fwhm_mas=11.6,
    following_mas=0.1,
    guides=GuideStars(fwhm_mas=12.0, elongation_mas=1.5, axis_deg=20.0, unexplained_mas=1.25),
)
DARK = Provenance(reftype="DARK", status="OK", name="iris_dark_0001.fits", sha256="0f" * 32, age_s=3600.5)
SKY = Provenance(reftype="SKY", status="MISSING", note="no rule covers FILTER=H")


def make_read(
    sequence: int = 0, *, data: np.ndarray[Any, Any] | None = None, detector: str = "IMG1", **changes: Any
) -> Read:
    """Return a small read: read `sequence` of one long ramp, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "instrument": "IRIS",
        "detector": detector,
        "sequence": sequence,
        "time_ns": TIME_NS + sequence * FRAME_NS,
        "exposure_id": "2031A-001-001-IRIS-IMG1-SCI0-0001",
        "ramp": 0,
        "read": sequence,
        "frame_time_ns": FRAME_NS,
    }
    pixels = np.arange(12, dtype="<u2").reshape(3, 4) + np.uint16(sequence % 1000) if data is None else data
    return Read(ReadHeader(**(values | changes)), pixels)


def _read() -> Read:
    data = np.array([[0, 1, 255, 256], [5000, 34600, 65534, 65535], [7, 6, 5, 4]], dtype="<u2")
    return make_read(
        41,
        data=data,
        ramp=2,
        read=1,
        ramps_planned=3,
        reads_planned=10,
        reset_ns=TIME_NS - FRAME_NS,
        gain_e_per_dn=3.04,
        read_noise_e=9.0,
        saturation_dn=34600.0,
        setup=SETUP,
    )


def _observe() -> Observe:
    header = ObserveHeader(
        instrument="IRIS",
        detector="IMG1",
        sequence=3,
        time_ns=TIME_NS,
        name="ExposureStart",
        exposure_id="2031A-001-001-IRIS-IMG1-SCI0-0001",
        parameters={"obsId": "2031A-001-001", "ramps": 3, "offsets": [0.5, -1.25], "comment": None},
        setup=SETUP,
    )
    return Observe(header)


def _telemetry() -> Telemetry:
    header = TelemetryHeader(
        instrument="TCS",
        detector="ALL",
        sequence=1_000_000,
        time_ns=TIME_NS,
        event="TCS.cmIRIS.positionAngle",
        values={"angle": 12.5, "tracking": True, "state": "LOCK", "history": [1, 2, 3]},
        units={"angle": "deg"},
    )
    return Telemetry(header)


def _frame() -> Frame:
    header = FrameHeader(
        instrument="IRIS",
        detector="IMG1",
        sequence=7,
        time_ns=TIME_NS,
        exposure_id="2031A-001-001-IRIS-IMG1-SCI0-0001",
        revision=1,
        ramps=2,
        ramps_planned=3,
        reads_planned=10,
        mode="mcds",
        reads_per_end=4,
        effective_s=12.96,
        first_read_ns=TIME_NS - 19 * FRAME_NS,
        published_ns=TIME_NS + 1_000_000,
        reads_used=19,
        reads_lost=1,
        reads_rejected=0,
        complete=True,
        final=False,
        gain_e_per_dn=3.04,
        read_noise_e=9.0,
        saturation_dn=34600.0,
        sky_scale=1.02,
        setup=SETUP,
        references=[DARK, SKY],
        crds_context="tmt_0001.pmap",
        crds_sha1="ab" * 20,
        software="iris-rtcal 0.1.0",
        notes=["sky not subtracted"],
        reads_excluded=2,
        telemetry=[LOOP, ANGLE],
        adc=RESIDUAL,
        quality=Quality(sources=4, fwhm_mas=11.9, strehl=0.58, sky=110.2, read_noise_e=[9.1, 8.9], jumps=12),
        wcs={"CTYPE1": "RA---TAN", "CRVAL1": 150.0},
    )
    data = np.array([[1.5, np.nan], [-0.25, 1e6]], dtype="<f4")
    dq = np.array([[0, 1 << 31], [3, 1]], dtype="<u4")
    saturated_from = np.array([[65535, 0], [4, 65535]], dtype="<u2")
    return Frame(header, data, np.abs(data) / 8, dq, saturated_from)


def _binned() -> Binned:
    frame = _frame().header
    header = BinnedHeader(
        instrument=frame.instrument,
        detector=frame.detector,
        sequence=frame.sequence,
        time_ns=frame.time_ns,
        binning=2,
        full_shape=(4, 5),
        frame=frame,
    )
    return Binned(header, np.array([[1.5, np.nan], [-0.25, 1e6]], dtype="<f4"))


def _spectral(**more: Any) -> dict[str, Any]:
    return {
        "instrument": "IRIS",
        "detector": "IFS",
        "sequence": 5,
        "time_ns": TIME_NS,
        "exposure_id": "2031A-001-001-IRIS-IFS-SCI0-0001",
        "revision": 2,
        "ramps": 3,
        "provisional": False,
        "final": True,
        "wave_first_um": 1.4851,
        "wave_step_um": 0.0004,
        "bins": 2,
        "binning": 2,
        "field": (2, 3),
        "scale_mas": 25.0,
        "status": "APPROX",
        "arc": Provenance(reftype="ARC", status="STALE", name="arc_0001.fits", sha256="1f" * 32, age_s=90000.0),
        "sky": "spaxels",
        "sky_scales": [0.98, 1.03],
        "oh_offset_px": 0.05,
        "adc_shift_max": 0.25,
        "effective_s": 6.48,
        "first_read_ns": TIME_NS - 9 * FRAME_NS,
        "published_ns": TIME_NS + 3_000_000,
        "setup": SETUP,
        "references": [DARK],
        "software": "iris-rtcal 0.1.0",
        "notes": ["one trace has no wavelengths"],
        **more,
    }


def _cube() -> Cube:
    data = np.arange(12, dtype="<f4").reshape(2, 2, 3)
    data[1, 1, 2] = np.nan
    dq = np.zeros((2, 2, 3), "<u4")
    dq[1, 1, 2] = 1
    return Cube(CubeHeader(**_spectral()), data, data / 8, dq)


def _white() -> White:
    data = np.array([[1.5, 2.5, np.nan], [-1.0, 0.0, 3.0]], "<f4")
    return White(WhiteHeader(**_spectral(provisional=True, oh_offset_px=None)), data, np.abs(data) / 8)


def _spectrum() -> Spectrum:
    data = np.array([10.5, np.nan], "<f4")
    header = SpectrumHeader(**_spectral(aperture_y=0.5, aperture_x=1.25, aperture_radius=2.0))
    return Spectrum(header, data, data / 10, np.array([0, 1], "<u4"))


def _preview() -> Preview:
    header = PreviewHeader(
        instrument="IRIS",
        detector="IMG1",
        sequence=12,
        time_ns=TIME_NS,
        exposure_id="2031A-001-001-IRIS-IMG1-SCI0-0001",
        ramp=1,
        read=4,
        ramps_planned=3,
        reads_planned=10,
        reads_used=5,
        reads_lost=0,
        effective_s=2.88,
        binning=4,
        full_shape=(8, 12),
        published_ns=TIME_NS + 2_000_000,
        setup=SETUP,
    )
    raw = np.linspace(5000, 6000, 6, dtype="<f4").reshape(2, 3)
    return Preview(header, raw, (raw - 5000) / 8)


def _status() -> Status:
    detector = DetectorStatus(
        exposure_id="2031A-001-001-IRIS-IMG1-SCI0-0001",
        ramp=1,
        read=4,
        reads_planned=10,
        queued=1,
        latency_s=0.125,
        counters={"delivered": 14, "lost": 1},
        references=[DARK, SKY],
    )
    header = StatusHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=99,
        time_ns=TIME_NS,
        state="running",
        started_ns=TIME_NS - 100_000_000_000,
        period_s=1.0,
        software="iris-rtcal 0.1.0",
        crds_context="tmt_0001.pmap",
        counters={"received": 15, "rejected_parts": 1},
        detectors={"IMG1": detector},
        problems=["no flat for FILTER=H"],
    )
    return Status(header)


SAMPLES: dict[str, Message] = {
    "read": _read(),
    "observe": _observe(),
    "telemetry": _telemetry(),
    "frame": _frame(),
    "binned": _binned(),
    "cube": _cube(),
    "white": _white(),
    "spectrum": _spectrum(),
    "preview": _preview(),
    "status": _status(),
}


def same(one: Message, other: Message) -> bool:
    """Tell whether two messages are the same, bit for bit (NaN included)."""
    arrays = ((getattr(one, path), getattr(other, path)) for path in one.DTYPES)
    return (
        type(one) is type(other)
        and one.header == other.header
        and all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in arrays)
    )


def write_golden() -> None:
    """Freeze the bytes of every sample; only a new version of the wire may change them."""
    for kind, message in SAMPLES.items():
        (GOLDEN / f"{kind}.parts").write_bytes(b"".join(frame_parts(wire.encode(message))))
