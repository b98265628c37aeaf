"""The messages that travel: frozen, typed, versioned.

A message is a header (scalars, checked against its type when it arrives) and, for some kinds, arrays.
Axes are `(y, x)` throughout. Times are TAI nanoseconds (`clock`). A header's dictionaries are
read-only by convention. `docs/wire.md` lists the keys as they travel.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

VERSION = 1
MAX_SIDE = 16384
MAX_TELEMETRY_ROWS = 2048

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}\Z")]
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+\Z")]
Text = Annotated[str, Meta(max_length=1024)]
Index = Annotated[int, Meta(ge=0, le=10_000_000)]
Count = Annotated[int, Meta(ge=0, le=2**62)]
TimeNs = Annotated[int, Meta(ge=0, le=2**62)]
DurationNs = Annotated[int, Meta(gt=0, le=10**15)]
Positive = Annotated[float, Meta(gt=0, le=1e15)]
Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]
Scalar = str | int | float | bool
Values = Annotated[dict[Text, Scalar | list[Scalar] | None], Meta(max_length=256)]
SetupKeys = Annotated[dict[Annotated[str, Meta(max_length=64)], Text | int | float | bool], Meta(max_length=128)]

TelemetryStatus = Literal["OK", "AGE", "STALE", "SUSPECT", "MISSING"]
RefStatus = Literal["OK", "STALE", "MISMATCH", "MISSING", "DUMMY", "DEFAULT", "NA"]
ObserveName = Literal[
    "PrepareStart",
    "ExposureStart",
    "ReadoutEnd",
    "ReadoutFailed",
    "ExposureEnd",
    "DataWriteEnd",
    "ExposureAborted",
    "ObserveEnd",
]


class _Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    version: Literal[1] = 1
    instrument: Name
    detector: Name
    """`ALL` for what concerns no single detector."""
    sequence: Count
    """Counts the messages of one source (instrument, detector, kind) of one publisher, from 0."""
    time_ns: TimeNs
    """When the content was true: a read's first pixel, an event's instant, a frame's last read."""

    @property
    def kind(self) -> str:
        """The kind of message, the last word of its source."""
        return str(self.__struct_config__.tag)

    @property
    def source(self) -> str:
        """Name on the wire: `instrument/detector/kind`."""
        return f"{self.instrument}/{self.detector}/{self.kind}"


class ReadHeader(_Header, frozen=True, kw_only=True, tag="read"):
    """One non-destructive sample of a detector; `time_ns` is its first pixel."""

    exposure_id: Id
    ramp: Index
    """Index of the ramp in its exposure, from 0."""
    read: Index
    """Index of the read in its ramp, from 0."""
    ramps_planned: Index = 0
    """Ramps in the exposure; 0 if not known."""
    reads_planned: Index = 0
    """Reads in each ramp; 0 if not known."""
    reset_ns: TimeNs | None = None
    """End of the last reset."""
    frame_time_ns: DurationNs
    """Time to clock one frame."""
    complete: bool = True
    """False where not all pixels were read."""
    gain_e_per_dn: Positive | None = None
    read_noise_e: Positive | None = None
    """Noise of one single read [e-]."""
    saturation_dn: Positive | None = None
    """Raw level at which a pixel is saturated [DN]."""
    setup: SetupKeys = {}
    """FITS keywords that choose references: DETECTOR, FILTER, READMODE, SUBARRAY, DATE-OBS ..."""


class ObserveHeader(_Header, frozen=True, kw_only=True, tag="observe"):
    """A step of the observing sequence, by its CSW name."""

    name: ObserveName
    exposure_id: Id
    parameters: Values = {}
    setup: SetupKeys = {}


class TelemetryHeader(_Header, frozen=True, kw_only=True, tag="telemetry"):
    """The values of one telemetry event."""

    event: Annotated[str, Meta(min_length=1, max_length=256)]
    """Event key, e.g. `TCS.cmIRIS.positionAngle`."""
    values: Values
    units: Annotated[dict[Text, Text], Meta(max_length=256)] = {}


class Provenance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which reference took part in a frame, and how far it can be trusted."""

    reftype: Name
    status: RefStatus
    """NA: the step does not apply or was switched off; MISSING and MISMATCH: not applied; DEFAULT: an assumed value."""
    name: Text = ""
    sha256: Annotated[str, Meta(max_length=64)] = ""
    age_s: float | None = None
    """From the reference's USEAFTER (or DATE-OBS) to the exposure's first read."""
    note: Text = ""


class TelemetryRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one key of telemetry was at the middle of the exposure, or at a read."""

    key: Annotated[str, Meta(max_length=256)]
    """Its event."""
    param: Annotated[str, Meta(max_length=256)]
    """Its parameter; `*`: the median of all of the event."""
    fits: Annotated[str, Meta(max_length=8)] = ""
    """Its FITS keyword."""
    time_ns: TimeNs | None = None
    """Since when the value holds."""
    value: Scalar | list[Scalar] | None = None
    unit: Annotated[str, Meta(max_length=64)] = ""
    age_s: float | None = None
    status: TelemetryStatus
    """OK; AGE: comes only when something changes; STALE; SUSPECT: out of its range; MISSING."""
    ramp: Index | None = None
    """Ramp and read that it is of; None: the middle of the exposure."""
    read: Index | None = None


Pair = Annotated[list[float], Meta(min_length=2, max_length=2)]
Curve = Annotated[list[float], Meta(max_length=64)]


class GuideStars(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and wide the guide stars in the imager's windows are, the mean of those in use."""

    fwhm_mas: float
    elongation_mas: float
    """What adds in square to the smaller width at half maximum to make the larger one."""
    axis_deg: float
    """Direction along which they are longest, -90 to 90."""
    unexplained_mas: float | None = None
    """The elongation that the dispersion left does not explain; None where that is not known."""


class AdcResidual(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the atmosphere's dispersion and the prisms of its corrector leave, at the middle of the exposure.

    Vectors are (x, y) in the instrument's frame, relative to the reference wavelength; what is not known is None.
    """

    status: Literal["OK", "STALE", "OUT", "UNKNOWN"]
    """STALE: from held values; OUT: the prisms are not in the beam, all of the atmosphere is left."""
    atmosphere: Literal["TCS", "MODEL", "NONE"]
    """Whether the telescope control system gave the dispersion, or it was computed."""
    air: Literal["OK", "DEFAULT"]
    """DEFAULT: pressure, temperature or humidity were not known, and the configuration's were taken."""
    reference_um: float | None = None
    zenith_deg: float | None = None
    orientation_deg: float | None = None
    """Direction in which blue light is displaced by the atmosphere."""
    atmosphere_mas: float | None = None
    """From edge to edge of the band, without prisms."""
    wavelength_um: Curve = []
    weight: Curve = []
    x_mas: Curve = []
    y_mas: Curve = []
    """The residual at each wavelength."""
    edge_mas: Pair | None = None
    """From the shortest to the longest wavelength."""
    shift_mas: Pair | None = None
    """Of the band's light from where its reference wavelength lies."""
    rms_mas: float | None = None
    axis_deg: float | None = None
    """Direction along which images are longest."""
    elongation_mas: float | None = None
    """Added in square to the width at half maximum along the axis."""
    fwhm_mas: float | None = None
    """What a diffraction-limited image then measures along the axis."""
    following_mas: float | None = None
    """Edge to edge between the prisms where they are and where they are meant to be."""
    guides: GuideStars | None = None
    """Measured on the guide stars; None where that is not known."""


class Quality(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good a frame is; what could not be measured is None."""

    sources: Index = 0
    """Stars measured; widths, light and sharpness are their medians."""
    fwhm_mas: float | None = None
    ellipticity: float | None = None
    ee50_mas: float | None = None
    """Radius that holds half of the light."""
    ee_50mas: float | None = None
    """Part of the light within 50 mas."""
    strehl: float | None = None
    """Proxy: the peak pixel's share of the light over that of an ideal image."""
    sky: float | None = None
    """Median of the good pixels without sources [e-/s]; what was subtracted is not in it."""
    sky_noise: float | None = None
    """Scatter of these pixels [e-/s]."""
    sky_mag_arcsec2: float | None = None
    zero_point: float | None = None
    """Magnitude of 1 e-/s that was used."""
    background_limited_s: float | None = None
    """Exposure at which read noise and the noise of the background are equal."""
    saturated_fraction: float = 0.0
    peak_fraction: float | None = None
    """Highest charge of a good pixel at the end of a ramp, as part of the saturation level."""
    saturation_s: float | None = None
    """Time from the reset at which that pixel saturates."""
    read_noise_e: Annotated[list[float], Meta(max_length=64)] = []
    """Of one read, by channel, from the reference pixels."""
    jumps: Count = 0
    jumps_per_s_cm2: float | None = None
    persistent: Count = 0
    """Pixels that may glow from an earlier exposure."""


class FrameHeader(_Header, frozen=True, kw_only=True, tag="frame"):
    """A reduced image; `time_ns` is its last read."""

    exposure_id: Id
    revision: Index = 0
    """Goes up when the same exposure's frame is issued again (a further ramp, a better sky)."""
    ramps: Index
    """Ramps combined in it."""
    ramps_planned: Index = 0
    reads_planned: Index = 0
    mode: Literal["cds", "mcds", "utr"]
    reads_per_end: Index = 0
    """m of MCDS (1 for CDS, 0 for UTR)."""
    units: Literal["e-/s"] = "e-/s"
    effective_s: float
    """From the first to the last read used, summed over ramps [s]; rates are divided by it."""
    first_read_ns: TimeNs
    published_ns: TimeNs
    """When it left; the one value that differs between a live and a replayed frame."""
    reads_used: Index
    reads_lost: Index
    reads_rejected: Index
    complete: bool
    """False for an aborted ramp or one with fewer reads than planned."""
    final: bool
    """True when no further ramp of the exposure is expected."""
    gain_e_per_dn: float
    read_noise_e: float
    saturation_dn: float
    sky_scale: float | None = None
    setup: SetupKeys = {}
    references: Annotated[list[Provenance], Meta(max_length=64)] = []
    crds_context: Text = ""
    crds_sha1: Annotated[str, Meta(max_length=40)] = ""
    software: Text = ""
    notes: Annotated[list[Text], Meta(max_length=64)] = []
    reads_excluded: Index = 0
    """Reads that a rule left out, not counted among the lost or rejected."""
    telemetry: Annotated[list[TelemetryRow], Meta(max_length=MAX_TELEMETRY_ROWS)] = []
    adc: AdcResidual | None = None
    quality: Quality | None = None
    wcs: SetupKeys = {}
    """World coordinates of DATA, ERR and DQ as FITS keywords; empty where the pointing is not known."""


class BinnedHeader(_Header, frozen=True, kw_only=True, tag="binned"):
    """A frame binned for the screen, which leaves before the frame; `sequence` and `time_ns` are the frame's."""

    binning: Annotated[int, Meta(ge=1, le=64)]
    full_shape: tuple[Side, Side]
    frame: FrameHeader


class _SpectralHeader(_Header, frozen=True, kw_only=True):
    exposure_id: Id
    revision: Index = 0
    """That of the frame that it was made of."""
    ramps: Index
    provisional: bool = False
    """True for a ramp in progress: made of the rate so far."""
    final: bool
    wave_first_um: Positive
    """Centre of the first wavelength bin, vacuum."""
    wave_step_um: Positive
    """Width of the bins of `binning` grid steps."""
    bins: Annotated[int, Meta(ge=1, le=MAX_SIDE)]
    binning: Annotated[int, Meta(ge=1, le=4096)] = 1
    """Steps of the mode's wavelength grid in a bin; rates are their mean."""
    field: tuple[Side, Side]
    """Spaxels (y, x)."""
    scale_mas: Positive | None = None
    """Side of a spaxel."""
    pointing_deg: tuple[float, float, float] | None = None
    """Right ascension and declination of the field's centre, ICRS, and the angle of its y axis east of north."""
    units: Literal["e-/s"] = "e-/s"
    """Of a spaxel and grid step."""
    status: Literal["OK", "APPROX", "UNRELIABLE"]
    """APPROX: profiles are those of the arc, not of a scan; UNRELIABLE: no arc fits, wavelengths are nominal."""
    arc: Provenance
    sky: Literal["none", "frame", "spaxels", "exposure"] = "none"
    """What was subtracted: nothing, the frame's own sky, that of the faintest spaxels, or a sky exposure's."""
    sky_scales: Annotated[list[float], Meta(max_length=64)] = []
    """By group of OH lines."""
    oh_offset_px: float | None = None
    """Median place of OH lines less where the wavelengths put them; null where too few are seen."""
    adc_shift_max: float | None = None
    """Largest shift of a slice against atmospheric dispersion [spaxel]; null where none was made."""
    effective_s: float
    first_read_ns: TimeNs
    published_ns: TimeNs
    setup: SetupKeys = {}
    references: Annotated[list[Provenance], Meta(max_length=64)] = []
    software: Text = ""
    notes: Annotated[list[Text], Meta(max_length=64)] = []


class CubeHeader(_SpectralHeader, frozen=True, kw_only=True, tag="cube"):
    """A cube of the spectrograph; `time_ns` is its last read."""


class WhiteHeader(_SpectralHeader, frozen=True, kw_only=True, tag="white"):
    """The mean of a cube over wavelength; `time_ns` is its last read."""


class SpectrumHeader(_SpectralHeader, frozen=True, kw_only=True, tag="spectrum"):
    """The sum of a cube over an aperture; `time_ns` is its last read."""

    aperture_y: float
    """Centre, 0-based spaxels."""
    aperture_x: float
    aperture_radius: Positive


class PreviewHeader(_Header, frozen=True, kw_only=True, tag="preview"):
    """A ramp in progress, binned for the screen; `time_ns` is its latest read."""

    exposure_id: Id
    ramp: Index
    read: Index
    ramps_planned: Index = 0
    reads_planned: Index = 0
    reads_used: Index
    reads_lost: Index
    effective_s: float
    binning: Annotated[int, Meta(ge=1, le=64)]
    full_shape: tuple[Side, Side]
    published_ns: TimeNs
    setup: SetupKeys = {}


class DetectorStatus(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one detector's pipeline stands."""

    exposure_id: Annotated[str, Meta(max_length=128)] = ""
    ramp: Index = 0
    read: Index = 0
    reads_planned: Index = 0
    queued: Index = 0
    latency_s: float | None = None
    """From the arrival of the last ramp's last read to the publication of its frame."""
    counters: Annotated[dict[Text, int], Meta(max_length=128)] = {}
    references: Annotated[list[Provenance], Meta(max_length=64)] = []


class StatusHeader(_Header, frozen=True, kw_only=True, tag="status"):
    """The daemon's heartbeat; `detector` is `ALL`."""

    state: Literal["starting", "running", "stopping"]
    started_ns: TimeNs
    period_s: Positive
    """Time between heartbeats: one that is three periods old is stale."""
    software: Text = ""
    crds_context: Text = ""
    counters: Annotated[dict[Text, int], Meta(max_length=256)] = {}
    detectors: Annotated[dict[Name, DetectorStatus], Meta(max_length=64)] = {}
    problems: Annotated[list[Text], Meta(max_length=64)] = []
    """What an operator should know now, in words."""


Header = (
    ReadHeader
    | ObserveHeader
    | TelemetryHeader
    | FrameHeader
    | BinnedHeader
    | CubeHeader
    | WhiteHeader
    | SpectrumHeader
    | PreviewHeader
    | StatusHeader
)


@dataclass(frozen=True, slots=True)
class Read:
    """A read: header and raw pixels [DN], uint16 or float32, (y, x)."""

    header: ReadHeader
    data: NDArray[Any]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("<u2", "<f4")}


@dataclass(frozen=True, slots=True)
class Observe:
    """An observe event."""

    header: ObserveHeader
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A telemetry event."""

    header: TelemetryHeader
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Frame:
    """A reduced image: rate and its sigma [e-/s], float32; flags, uint32; all (y, x).

    `saturated_from` is the index of the first read at which a pixel was saturated, uint16,
    65535 where it never was (the earliest over ramps).
    """

    header: FrameHeader
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    saturated_from: NDArray[np.uint16]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": ("<f4",),
        "err": ("<f4",),
        "dq": ("<u4",),
        "saturated_from": ("<u2",),
    }


@dataclass(frozen=True, slots=True)
class Binned:
    """The rate of a frame [e-/s], binned by mean over the pixels that may be used, float32, (y, x).

    NaN where a bin holds none; rows and columns beyond the last whole bin are left out.
    """

    header: BinnedHeader
    data: NDArray[np.float32]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("<f4",)}


@dataclass(frozen=True, slots=True)
class Cube:
    """A cube: rate and its sigma [e-/s], float32; flags, uint32; all (wavelength, y, x)."""

    header: CubeHeader
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("<f4",), "err": ("<f4",), "dq": ("<u4",)}
    NDIM: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class White:
    """The mean over wavelength and its sigma [e-/s a grid step], float32, (y, x)."""

    header: WhiteHeader
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("<f4",), "err": ("<f4",)}


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The sum over an aperture: rate and its sigma [e-/s], float32; flags, uint32; all (wavelength,)."""

    header: SpectrumHeader
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: NDArray[np.uint32]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"data": ("<f4",), "err": ("<f4",), "dq": ("<u4",)}
    NDIM: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Preview:
    """The latest raw read [DN] and the provisional rate [e-/s], both binned by mean, float32, (y, x).

    NaN where a bin holds no good pixel.
    """

    header: PreviewHeader
    raw: NDArray[np.float32]
    rate: NDArray[np.float32]
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {"raw": ("<f4",), "rate": ("<f4",)}


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon's heartbeat."""

    header: StatusHeader
    DTYPES: ClassVar[dict[str, tuple[str, ...]]] = {}


Message = Read | Observe | Telemetry | Frame | Binned | Cube | White | Spectrum | Preview | Status
MESSAGE_TYPES: dict[str, type[Message]] = {
    "read": Read,
    "observe": Observe,
    "telemetry": Telemetry,
    "frame": Frame,
    "binned": Binned,
    "cube": Cube,
    "white": White,
    "spectrum": Spectrum,
    "preview": Preview,
    "status": Status,
}
