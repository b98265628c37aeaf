"""The table `[simulator]` of the configuration file."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.messages import Name
from streams.simulator.faults import Fault

Kind = Literal["science", "sky", "dark", "flat", "arc", "scan"]
"""What an exposure looks at: the field, a blank patch beside it, a closed shutter, an even lamp, arc lamps, or the lamp
through a mask that leaves every fifth spectrum open, the next ones in each exposure."""
SCAN_STEPS = 5
IfsMode = Literal["slicer", "slicer_half", "lenslet", "lenslet_112", "lenslet_16"]
Reference = Literal["DARK", "DQ", "FLAT", "SKY", "ARC", "BIAS", "SATURATION", "NONLINCOEFF"]
"""A type of reference that the simulator writes, by CRDS's name."""
Fraction = Annotated[float, Meta(ge=0, le=0.5)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
AboveZero = Annotated[float, Meta(gt=0, le=1e9)]


class SimulatorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the simulated instrument is and what it does; `config.toml` says each key's meaning."""

    detectors: Annotated[list[Literal["IMG1", "IMG2", "IMG3", "IMG4", "IFS"]], Meta(min_length=1, max_length=5)]
    size: Annotated[int, Meta(ge=256, le=4096, multiple_of=64)]
    speed: NotNegative
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    epoch: str
    sequence: Annotated[list[Kind], Meta(min_length=1, max_length=64)]
    exposures: Annotated[int, Meta(ge=0, le=1_000_000)]
    ramps_per_exposure: Annotated[int, Meta(ge=1, le=1000)]
    reads_per_ramp: Annotated[int, Meta(ge=1, le=10_000)]
    frame_time_s: Annotated[float, Meta(ge=1e-3, le=1000)]
    observation: Name
    filter: Name
    read_mode: Literal["CDS", "MCDS", "UTR"]
    r0_m: Annotated[float, Meta(ge=0.02, le=2)]
    wavefront_error_nm: NotNegative
    sky_e_per_s: NotNegative
    flat_e_per_s: NotNegative
    arc_e_per_s: NotNegative
    lamps: Annotated[list[Literal["Ar", "Ne", "Kr", "Xe"]], Meta(min_length=1, max_length=4)]
    ifs_mode: IfsMode
    lenslet_wings: Fraction
    stars_per_mpx: NotNegative
    brightest_e_per_s: AboveZero
    faintest_e_per_s: AboveZero
    gain_e_per_dn: AboveZero
    read_noise_e: NotNegative
    ktc_noise_e: NotNegative
    reset_level_dn: Annotated[float, Meta(ge=0, le=65535)]
    saturation_e: AboveZero
    full_well_e: AboveZero
    nonlinearity: Fraction
    drift_dn: NotNegative
    dark_e_per_s: NotNegative
    hot_fraction: Fraction
    dead_fraction: Fraction
    cosmic_rays_per_s_per_cm2: NotNegative
    reference_exposure_s: AboveZero
    reference_types: Annotated[list[Reference], Meta(max_length=8)]
    guide_window: Annotated[int, Meta(ge=0, le=256, multiple_of=64)]
    guide_frame_time_s: Annotated[float, Meta(ge=1e-3, le=1000)]
    telemetry_rate: Annotated[float, Meta(ge=0, le=1000)]
    faults: Annotated[list[Fault], Meta(max_length=100)]

    @property
    def frame_time_ns(self) -> int:
        """Time to clock one frame [ns]."""
        return round(self.frame_time_s * 1e9)

    @property
    def ramp_ns(self) -> int:
        """Length of a ramp, its reset included [ns]."""
        return (self.reads_per_ramp + 1) * self.frame_time_ns

    @property
    def exposure_ns(self) -> int:
        """Length of an exposure [ns]."""
        return self.ramps_per_exposure * self.ramp_ns

    @property
    def guide_frame_time_ns(self) -> int:
        """Time to clock a guide window [ns]."""
        return round(self.guide_frame_time_s * 1e9)

    @property
    def guide_ramps(self) -> int:
        """Ramps of a guide window that fit into an exposure, one at least."""
        return max(1, self.exposure_ns // ((self.reads_per_ramp + 1) * self.guide_frame_time_ns))

    @property
    def channels(self) -> int:
        """Outputs of a detector, each 64 columns wide as on a full-size one."""
        return self.size // 64

    @property
    def saturation_dn(self) -> float:
        """Raw level that the reads' headers give as saturated [DN]."""
        bent_e = self.saturation_e * (1 - self.bend_per_e * self.saturation_e)
        return self.reset_level_dn + bent_e / self.gain_e_per_dn

    @property
    def bend_per_e(self) -> float:
        """Coefficient a of the measured signal q - a q² [1/e-]."""
        return self.nonlinearity / self.full_well_e
