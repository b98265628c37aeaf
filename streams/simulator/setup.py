"""What the reads say of the instrument: FITS keywords and exposure names."""

from streams.clock import iso_utc
from streams.simulator.instrument import band_um
from streams.simulator.settings import Kind, SimulatorSettings
from streams.simulator.spectra import MODES, RESOLVING_POWER

INSTRUMENT = "IRIS"
TYPES: dict[Kind, str] = {"science": "SCI", "sky": "SKY", "dark": "DRK", "flat": "FFD", "arc": "ARC", "scan": "CAL"}
"""Exposure types as in the names of exposures; the same words are the values of EXPTYPE."""

OBJECTS: dict[Kind, str] = {
    "science": "cluster",
    "sky": "blank field",
    "dark": "dark",
    "flat": "lamp",
    "arc": "arc lamps",
    "scan": "lenslet scan",
}


def detector_keyword(detector: str) -> str:
    """Return the value of DETECTOR: the detector's name, but IFU for that of the spectrograph."""
    return "IFU" if detector == "IFS" else detector


def exposure_id(settings: SimulatorSettings, detector: str, kind: Kind, number: int) -> str:
    """Return the name of a raw exposure, numbered from 1."""
    return f"{settings.observation}-{INSTRUMENT}-{detector}-{TYPES[kind]}0-{number:04d}"


def instrument_keys(settings: SimulatorSettings, detector: str) -> dict[str, str | int | float | bool]:
    """Return the keywords that choose references and do not change from exposure to exposure."""
    keys: dict[str, str | int | float | bool] = {
        "INSTRUME": INSTRUMENT,
        "INSTERA": "SIMULATION",
        "DETECTOR": detector_keyword(detector),
        "INSTMODE": MODES[settings.ifs_mode].instmode if detector == "IFS" else "IMG",
        "READMODE": settings.read_mode,
        "FILTER": settings.filter,
        "SUBARRAY": "FULL",
        "CHANNELS": settings.channels,
    }
    if detector == "IFS":
        keys |= {"GRATING": f"{RESOLVING_POWER}-{settings.filter}", "SCALE": 25 if keys["INSTMODE"] == "SLICER" else 4}
        keys["SLMSKST" if keys["INSTMODE"] == "SLICER" else "LLMSKST"] = MODES[settings.ifs_mode].mask
    return keys


def setup_keys(
    settings: SimulatorSettings, detector: str, kind: Kind, start_ns: int
) -> dict[str, str | int | float | bool]:
    """Return all keywords of an exposure that starts at a TAI instant; dates are UTC."""
    date, time = iso_utc(start_ns).split("T")
    low_um, high_um = band_um(settings.filter)
    lamps = {"LAMPS": ",".join(settings.lamps)} if kind == "arc" else {}
    return (
        instrument_keys(settings, detector)
        | lamps
        | {
            "EXPTYPE": TYPES[kind],
            "OBS_ID": settings.observation,
            "OBJECT": OBJECTS[kind],
            "FILTWAVE": round((low_um + high_um) / 2, 4),
            "DATE-OBS": date,
            "TIME-OBS": time,
        }
    )
