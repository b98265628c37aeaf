"""The tables `[spectrograph]` and `[arc]`."""

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


class ArcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[arc]`."""

    snr_min: Annotated[float, Meta(ge=3)]
    fwhm_min_px: Annotated[float, Meta(gt=0)]
    fwhm_max_px: Annotated[float, Meta(gt=0, le=20)]
    fit_half_px: Annotated[int, Meta(ge=2, le=20)]
    shift_px: Annotated[float, Meta(gt=0, le=200)]
    stretch: Annotated[float, Meta(ge=0, le=0.2)]
    stagger_px: Annotated[float, Meta(ge=0, le=2000)]
    order: Annotated[int, Meta(ge=0, le=8)]
    neighbours: Annotated[int, Meta(ge=0, le=1000)]
    max_rms_px: Annotated[float, Meta(gt=0)]
