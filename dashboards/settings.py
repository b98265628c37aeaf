"""The `[dashboard]` table of `config.toml`, and what the display reads of the file."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.endpoints import StreamsSettings
from streams.errors import SettingsError
from streams.optics import Optics, OpticsSettings
from streams.telemetry_settings import TelemetrySettings

MIB = 1 << 20
WORKING_BYTES = 40 * MIB
"""What rendering, measuring and sending take for a moment, and what ZeroMQ holds."""
LEAST_BYTES = 16 * MIB

Positive = Annotated[int, Meta(gt=0)]
Limits = Literal["zscale", "percentile", "minmax", "manual"]
Stretch = Literal["linear", "sqrt", "log", "power", "asinh"]
Smoothing = Literal["none", "gaussian", "boxcar"]
ViewName = Literal["raw", "ramp", "reduced"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the past is kept."""

    limit_bytes: int
    """What the process may take with one detector."""
    frames: int
    """Most reduced frames of one detector."""
    reads: int
    """Most raw reads, and most ramps in progress, of one detector."""
    more_bytes: int = 0
    """What each further detector adds to the limit."""
    taken_bytes: int = 0
    """What is not there for pictures."""

    def limit(self, detectors: int) -> int:
        """Return what the process may take."""
        return self.limit_bytes + max(0, detectors - 1) * self.more_bytes

    def room(self, detectors: int, arriving_bytes: int) -> int:
        """Return what pictures may take while messages arrive: of detectors that end together two are under way."""
        under_way = min(2, max(1, detectors)) * arriving_bytes
        return max(0, self.limit(detectors) - self.taken_bytes - under_way)

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
    memory_more_mb: Annotated[int, Meta(ge=0)]
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

    def budget(self, own_bytes: int) -> Budget:
        """Return what is kept of the past by a process that takes `own_bytes` before the first message.

        Raises
        ------
        SettingsError
            If `memory_mb` leaves nothing for pictures.
        """
        taken = own_bytes + self.cache_mb * MIB + WORKING_BYTES
        limit = self.memory_mb * MIB
        if limit < taken + LEAST_BYTES:
            least = -(-(taken + LEAST_BYTES) // MIB)
            raise SettingsError(f"dashboard.memory_mb = {self.memory_mb}: the display needs {least} before any image")
        return Budget(limit, self.history_frames, self.history_reads, self.memory_more_mb * MIB, taken)


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
