"""The `[dashboard]` table of `config.toml`, and what the display reads of the file."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.endpoints import StreamsSettings
from streams.optics import Optics, OpticsSettings
from streams.telemetry_settings import TelemetrySettings

Positive = Annotated[int, Meta(gt=0)]
Limits = Literal["zscale", "percentile", "minmax", "manual"]
Stretch = Literal["linear", "sqrt", "log", "power", "asinh"]
Smoothing = Literal["none", "gaussian", "boxcar"]
ViewName = Literal["raw", "ramp", "reduced"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the past is kept."""

    limit_bytes: int
    frames: int
    """Most reduced frames of one detector."""
    reads: int
    """Most raw reads, and most ramps in progress, of one detector."""

    def most(self, view: ViewName) -> int:
        """Return how many pictures of a view are kept of one detector."""
        return self.frames if view == "reduced" else self.reads


class TargetSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[dashboard.target]`: what is refused."""

    max_offset_arcsec: Annotated[float, Meta(gt=0, le=1e5)]
    max_age_s: Annotated[float, Meta(gt=0, le=1e6)]
    confirm_s: Annotated[float, Meta(gt=0, le=1e6)]


class DashboardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What `config.toml` says under `[dashboard]`; each key is explained there."""

    address: str
    port: Annotated[int, Meta(ge=0, le=65535)]
    allow_origins: list[str]
    memory_mb: Positive
    history_frames: Annotated[int, Meta(ge=1, le=10_000)]
    history_reads: Annotated[int, Meta(ge=1, le=1000)]
    cache_mb: Positive
    full_frames: bool
    receive_high_water: Positive
    tick_s: Annotated[float, Meta(gt=0, le=5)]
    threads: Positive
    max_viewers: Positive
    display_pixels: Annotated[int, Meta(ge=128, le=4096)]
    mosaic: list[list[str]]
    mosaic_gap: Annotated[float, Meta(ge=0, le=1)]
    view: ViewName
    limits: Limits
    percentile: Annotated[float, Meta(ge=50, le=100)]
    zscale_contrast: Annotated[float, Meta(gt=0, le=1)]
    stretch: Stretch
    colour_map: Literal["grey", "inferno", "magma", "viridis", "cividis", "turbo"]
    theme: Literal["dark", "light"]
    token_file: str
    log: str
    alarms: str
    target: TargetSettings

    @property
    def budget(self) -> Budget:
        """What is kept of the past."""
        return Budget(self.memory_mb * (1 << 20), self.history_frames, self.history_reads)


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The tables that the display reads."""

    streams: StreamsSettings
    telemetry: TelemetrySettings
    optics: OpticsSettings
    filters: dict[str, tuple[float, float]]
    dashboard: DashboardSettings

    @property
    def instrument_optics(self) -> Optics:
        """Angles and bands."""
        return Optics(self.optics, self.filters)
