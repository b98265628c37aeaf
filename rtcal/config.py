"""The tables of `config.toml`: those of rtcal itself, and `Settings`, all that its commands read."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from refcache import FRAME_TYPES, RefcacheSettings
from rtcal.sky_settings import AdcSettings, WcsSettings
from rtcal.spectrograph.settings import ArcSettings, SpectrographSettings
from streams.csw_settings import CswSettings
from streams.endpoints import StreamsSettings
from streams.fits_keys import FitsKeys
from streams.messages import ObserveHeader, ReadHeader
from streams.optics import OpticsSettings
from streams.simulator import SimulatorSettings
from streams.telemetry_settings import TelemetrySettings
from streams.windows import base_detector, is_window

Seconds = Annotated[float, Meta(gt=0, le=1e9)]
Mode = Literal["cds", "mcds", "utr"]

MODE_SPELLINGS: dict[str, Mode] = {
    "CDS": "cds",
    "MCDS": "mcds",
    "MCD": "mcds",
    "MDS": "mcds",
    "UTR": "utr",
    "OLS": "utr",
}
"""Spellings of READMODE in the documents of IRIS."""


class DaemonSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[daemon]`."""

    threads: Annotated[int, Meta(ge=0, le=256)]
    queue_reads: Annotated[int, Meta(ge=1, le=10_000)]
    queue_wait_s: Seconds
    hold_reads: Annotated[int, Meta(ge=0, le=100)]
    idle_frames: Annotated[float, Meta(gt=0, le=1e4)]
    idle_s: Seconds
    heartbeat_s: Seconds
    preview_pixels: Annotated[int, Meta(ge=64, le=4096)]
    stop_s: Seconds


class RampSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[ramp]`."""

    mode: Literal["auto", "utr", "cds", "mcds"]
    weights: Literal["equal", "snr"]
    reads_per_end: Annotated[int, Meta(ge=1, le=1000)]
    saturation_fraction: Annotated[float, Meta(gt=0, le=1)]
    jump_sigma: Annotated[float, Meta(ge=0, le=100)]
    reference_pixels: bool

    def mode_of(self, header: ReadHeader | ObserveHeader) -> Mode:
        """Return the estimate to use: the configured one, or the one that READMODE asks for (else UTR)."""
        if self.mode != "auto":
            return self.mode
        return MODE_SPELLINGS.get(str(header.setup.get("READMODE", "UTR")).strip().upper(), "utr")


class CalibrationSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[calibration]`."""

    bad_pixels: Literal["repair", "nan", "keep"]
    sky: Literal["scaled", "fixed", "off"]
    sky_scale_min: Annotated[float, Meta(gt=0)]
    sky_scale_max: Annotated[float, Meta(gt=0)]
    dark_stale_s: Seconds
    badpix_stale_s: Seconds
    sky_stale_s: Seconds
    flat_stale_s: Seconds
    linearity_stale_s: Seconds
    saturation_stale_s: Seconds
    bias_stale_s: Seconds
    gain_stale_s: Seconds
    readnoise_stale_s: Seconds
    arc_stale_s: Seconds
    lensletscan_stale_s: Seconds
    adc_stale_s: Seconds

    def __post_init__(self) -> None:
        if self.sky_scale_min > self.sky_scale_max:
            raise ValueError(f"sky_scale_min = {self.sky_scale_min:g} is above sky_scale_max = {self.sky_scale_max:g}")

    @property
    def stale_s(self) -> dict[str, float]:
        """Age from which a reference of each type is stale [s]."""
        return {reftype: getattr(self, f"{reftype}_stale_s") for reftype in FRAME_TYPES}


class NightSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[night]`."""

    use: bool
    directory: str
    group_most: Annotated[int, Meta(ge=1, le=100)]
    references_mb: Annotated[int, Meta(ge=1)]
    waiting_mb: Annotated[int, Meta(ge=0)]
    reissue_mb: Annotated[int, Meta(ge=0)]
    dithers_least: Annotated[int, Meta(ge=0, le=100)]

    def __post_init__(self) -> None:
        if 0 < self.dithers_least < 3:
            raise ValueError(f"dithers_least = {self.dithers_least}: a median needs 3; 0 makes none")
        if self.dithers_least > self.group_most:
            raise ValueError(f"dithers_least = {self.dithers_least} is above group_most = {self.group_most}")


class ProductSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[products]`."""

    write: bool
    directory: str
    every_ramp: bool


class DetectorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A table `[detectors.NAME]`: what holds where a read's own header does not say; DEFAULT for the rest."""

    gain_e_per_dn: Annotated[float, Meta(gt=0)] | None = None
    read_noise_e: Annotated[float, Meta(gt=0)] | None = None
    saturation_dn: Annotated[float, Meta(gt=0)] | None = None
    reference_border: Annotated[int, Meta(ge=0, le=64)] | None = None
    channels: Annotated[int, Meta(ge=0, le=64)] | None = None
    reset_level_dn: Annotated[float, Meta(ge=0)] | None = None


class Detector(Struct, frozen=True):
    """The properties of one detector that the reduction needs, all known."""

    gain_e_per_dn: float
    read_noise_e: float
    saturation_dn: float
    reference_border: int
    channels: int
    reset_level_dn: float | None = None
    """Raw level after a reset, from which linearity counts where there is no bias; None if it is not known."""


def detector_of(
    header: ReadHeader, tables: dict[str, DetectorSettings], said: DetectorSettings | None = None
) -> Detector:
    """Return a detector's properties: from the read's header, else what telemetry `said`, else its table, else DEFAULT.

    A window of the detector (SUBARRAY or SARRMODE other than FULL) has no reference border. The number of output
    channels is CHANNELS of the setup where that is there.
    """
    own, default = tables.get(base_detector(header.detector), DetectorSettings()), tables["DEFAULT"]

    def pick(name: str) -> float:
        for place in (header, said, own, default):
            value = getattr(place, name, None)
            if value is not None:
                return float(value)
        raise KeyError(f"[detectors.DEFAULT] lacks {name}")

    return Detector(
        gain_e_per_dn=pick("gain_e_per_dn"),
        read_noise_e=pick("read_noise_e"),
        saturation_dn=pick("saturation_dn"),
        reference_border=int(pick("reference_border")) if not is_window(header.setup) else 0,
        channels=_count(header.setup.get("CHANNELS"), int(pick("channels"))),
        reset_level_dn=own.reset_level_dn if own.reset_level_dn is not None else default.reset_level_dn,
    )


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1024 else default


class QualitySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[quality]`: what is measured on every frame."""

    enabled: bool
    sources: Annotated[int, Meta(ge=0, le=100)]
    significance: Annotated[float, Meta(gt=0, le=1e6)]
    radius_mas: Annotated[float, Meta(gt=0, le=1e5)]
    persistence_s: Annotated[float, Meta(ge=0, le=1e6)]
    persistence_fraction: Annotated[float, Meta(gt=0, le=1)]
    persistence_at_1s: Annotated[float, Meta(ge=0, le=1)]


class Settings(Struct, frozen=True):
    """The configuration, one field for each table."""

    streams: StreamsSettings
    csw: CswSettings
    daemon: DaemonSettings
    ramp: RampSettings
    calibration: CalibrationSettings
    night: NightSettings
    telemetry: TelemetrySettings
    adc: AdcSettings
    wcs: WcsSettings
    optics: OpticsSettings
    quality: QualitySettings
    filters: dict[str, tuple[float, float]]
    products: ProductSettings
    arc: ArcSettings
    spectrograph: SpectrographSettings
    refcache: RefcacheSettings
    detectors: dict[str, DetectorSettings]
    fits_keys: dict[str, FitsKeys]
    simulator: SimulatorSettings

    @property
    def instrument(self) -> str:
        """The instrument in whose name the daemon's heartbeat goes out, whatever its reads say."""
        return self.refcache.instrument.upper()
