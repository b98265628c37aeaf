"""The `[dashboard]` table of `config.toml`, and what the display reads of the file."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from streams.endpoints import StreamsSettings

Positive = Annotated[int, Meta(gt=0)]
Limits = Literal["zscale", "percentile", "manual"]
Stretch = Literal["linear", "sqrt", "log", "asinh"]
ViewName = Literal["raw", "ramp", "reduced"]


class DashboardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What `config.toml` says under `[dashboard]`; each key is explained there."""

    address: str
    port: Annotated[int, Meta(ge=0, le=65535)]
    allow_origins: list[str]
    memory_mb: Positive
    cache_mb: Positive
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


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The tables that the display reads."""

    streams: StreamsSettings
    dashboard: DashboardSettings
