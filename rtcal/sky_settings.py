"""The tables [adc] and [wcs]: dispersion, and where detectors lie on the sky."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_MAS = 10_000.0


class AdcSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[adc]`: the atmospheric dispersion corrector."""

    orientation_sign: Literal[-1, 1]
    orientation_offset_deg: float
    curve_um: list[float]
    curve_mas: list[float]
    check_mas: Annotated[float, Meta(gt=0)]
    check_elongation: Annotated[float, Meta(gt=0)]
    pressure_hpa: Annotated[float, Meta(gt=0, le=1200)]
    temperature_c: Annotated[float, Meta(ge=-100, le=100)]
    humidity: Annotated[float, Meta(ge=0, le=1)]

    def __post_init__(self) -> None:
        if len(self.curve_um) != len(self.curve_mas) or self.curve_um != sorted(set(self.curve_um)):
            raise ValueError("curve_um and curve_mas need one value for each wavelength, wavelengths rising")
        if any(abs(value) > MAX_MAS for value in self.curve_mas):
            raise ValueError(f"curve_mas goes beyond {MAX_MAS:g} mas")


class WcsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[wcs]`: where detectors lie on the sky."""

    gap: Annotated[float, Meta(ge=0, le=10)]
    side_px: Annotated[int, Meta(ge=1, le=100_000)]
    angle_sign: Literal[-1, 1]
    angle_offset_deg: float
    shift_by_dispersion: bool
    header_detector: str
    header_check_arcsec: Annotated[float, Meta(gt=0)]
    places: dict[str, tuple[float, float]]

    def __post_init__(self) -> None:
        if self.header_detector and self.header_detector not in self.places:
            raise ValueError(
                f"header_detector {self.header_detector!r} is none of places: {', '.join(self.places) or 'empty'}"
            )
