"""The numbers of a frame that are charted, logged and watched."""

import math
import statistics

import msgspec

from streams.messages import FrameHeader

MOST_TELEMETRY = 200

UNITS = {
    "fwhm_mas": "FWHM [mas]", "strehl": "Strehl proxy", "ee50_mas": "EE50 [mas]", "ee_50mas": "EE(50 mas)",
    "ellipticity": "ellipticity", "sky": "sky [e-/s]", "sky_noise": "sky scatter [e-/s]",
    "sky_mag_arcsec2": "sky [mag/arcsec²]", "saturated_fraction": "saturated part", "peak_fraction": "fullest pixel",
    "read_noise_e": "read noise [e-]", "jumps_per_s_cm2": "jumps [1/s/cm²]", "persistent": "persistent pixels",
    "reads_lost": "reads lost", "reads_rejected": "reads rejected", "sky_scale": "sky scale",
}  # fmt: skip
"""What charts can show, in their order, with the words of the axis; telemetry comes after them."""


def quantities(header: FrameHeader) -> dict[str, float]:
    """Return the numbers that are known of a frame, by name."""
    found: dict[str, object] = {
        "reads_lost": header.reads_lost,
        "reads_rejected": header.reads_rejected,
        "sky_scale": header.sky_scale,
    }
    if header.quality is not None:
        numbers = msgspec.structs.asdict(header.quality)
        noise = numbers.pop("read_noise_e")
        found |= numbers | {"read_noise_e": statistics.median(noise) if noise else None}
    return {name: float(value) for name, value in found.items() if _known(value)}  # type: ignore[arg-type]


def telemetry(header: FrameHeader) -> dict[str, float]:
    """Return the numbers of telemetry that a frame carries, by FITS keyword."""
    rows = [row for row in header.telemetry if row.fits and row.read is None and row.status == "OK"]
    return {row.fits: float(row.value) for row in rows[:MOST_TELEMETRY] if _known(row.value)}  # type: ignore[arg-type]


def _known(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
