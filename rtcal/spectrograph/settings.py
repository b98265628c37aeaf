"""The table `[spectrograph]`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class SpectrographSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Cubes of the integral-field spectrograph; `config.toml` says each key's meaning."""

    cubes: bool
    sky: Literal["off", "spaxels", "exposure"]
    separate_steps: Annotated[int, Meta(ge=0, le=50)]
    aperture_radius: Annotated[float, Meta(gt=0, le=100)]
    preview_every: Annotated[int, Meta(ge=0, le=10_000)]
    preview_bins: Annotated[int, Meta(ge=1, le=4096)]
    adc_shift: bool
    oh_warn_px: Annotated[float, Meta(gt=0)]
    layout: str
    solve_arcs: bool
    arcs: str
    arc_range_um: Annotated[list[float], Meta(max_length=2)]
