"""Reference files that fit the simulation, as if they had been measured for a finite time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.clock import NS, tai_to_utc_ns
from streams.dq import Dq
from streams.errors import ReferencesError
from streams.fits_images import write_image
from streams.simulator.arcs import arc_extensions
from streams.simulator.instrument import random_for
from streams.simulator.mappings import OBSERVATORY, PARKEYS, Rules, check_ours, write_mappings
from streams.simulator.sequence import Simulator
from streams.simulator.settings import SimulatorSettings
from streams.simulator.setup import instrument_keys

AGE = {
    "DARK": timedelta(hours=12),
    "DQ": timedelta(hours=12),
    "ARC": timedelta(hours=12),
    "FLAT": timedelta(hours=12),
    "SKY": timedelta(minutes=10),
    "BIAS": timedelta(hours=12),
    "SATURATION": timedelta(days=30),
    "NONLINCOEFF": timedelta(days=30),
}
"""How long before the start each reference was made: the day's calibrations, and a sky just before."""
_UNITS = {"DARK": "e-/s", "SKY": "e-/s", "FLAT": "1", "BIAS": "DN", "SATURATION": "DN"}
_FLAT_SIGMA = 0.001
"""Error of a flat made of a million electrons a pixel."""
_BIAS_RESETS = 16
"""Resets that a bias is the mean of."""

Planes = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, NDArray[np.uint32]]
"""DATA, ERR, DQ; the first two absent in a bad-pixel map."""


def references_directory(directory: Path) -> Path:
    """Return where a CRDS cache keeps the references of IRIS."""
    return directory / "references" / OBSERVATORY / "iris"


def write_references(simulator: Simulator, directory: Path) -> str:
    """Write the references of each detector that the settings name, and the CRDS mappings that choose them.

    Parameters
    ----------
    simulator
        Whose detectors; a run that starts from now on finds the references in force.
    directory
        A CRDS cache: `mappings/tmt` and `references/tmt/iris` below it are made. Files of an
        earlier simulation are replaced.

    Returns
    -------
    str
        Name of the context, a `.pmap`.

    Raises
    ------
    ReferencesError
        If the directory holds another CRDS cache, or cannot be written.
    ImageError
        If a file cannot be written.
    """
    check_ours(directory)
    folder = references_directory(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReferencesError(f"{folder}: cannot be made: {error}; choose another directory") from error
    start = datetime.fromtimestamp(tai_to_utc_ns(simulator.start_ns()) // NS, UTC)
    rules: dict[str, Rules] = {}
    for reftype in simulator.settings.reference_types:
        useafter = f"{start - AGE[reftype]:%Y-%m-%d %H:%M:%S}"
        chosen: dict[tuple[str, ...], tuple[str, str]] = {}
        for detector in simulator.settings.detectors:
            if reftype == "ARC" and detector != "IFS":
                continue
            keys = instrument_keys(simulator.settings, detector)
            name = f"tmt_iris_{reftype.lower()}_{detector.lower()}_0001.fits"
            data, err, dq = _planes(simulator, detector, reftype)
            cards, extra = _cards(keys, reftype, useafter), []
            if reftype == "NONLINCOEFF":
                cards["LINMAX"] = (simulator.settings.saturation_dn - simulator.settings.reset_level_dn, "[DN]")
                extra = [_coefficients(simulator.settings)]
            if reftype == "ARC":
                extra = arc_extensions(simulator.scene.traces, simulator.settings.size)
            write_image(folder / name, cards, data, err, dq, extra=extra, overwrite=True)
            chosen[tuple(str(keys[parkey]) for parkey in PARKEYS[reftype])] = (useafter, name)
        if chosen:
            rules[reftype] = chosen
    return write_mappings(directory, rules)


def _cards(keys: dict[str, str | int | float | bool], reftype: str, useafter: str) -> fits.Header:
    header = fits.Header()
    for key, value in keys.items():
        header[key] = value
    header["REFTYPE"] = (reftype, "type of reference")
    header["REFVER"] = ("0001", "version")
    header["USEAFTER"] = (useafter, "UTC; for exposures that start from then on")
    header["PEDIGREE"] = ("SIMULATION", "INFLIGHT, GROUND, SIMULATION or DUMMY")
    header["DATAMODL"] = "ReferenceImage"
    if reftype in _UNITS:
        header["BUNIT"] = _UNITS[reftype]
    return header


def _planes(simulator: Simulator, detector: str, reftype: str) -> Planes:
    """Return what a measurement of this reference gives: the truth and noise of known size."""
    chip = simulator.scene.chips[detector]
    if reftype == "DQ":
        return None, None, chip.dq
    settings = simulator.settings
    if reftype in ("NONLINCOEFF", "ARC"):
        return None, None, np.zeros_like(chip.dq)
    if reftype == "SATURATION":
        level = chip.bias_dn + np.float32(settings.saturation_dn - settings.reset_level_dn)
        return level, None, np.zeros_like(chip.dq)
    random = random_for(simulator.settings.seed, detector, reftype)
    noise = random.standard_normal(chip.flat.shape, dtype=np.float32)
    if reftype == "BIAS":
        scatter_dn = np.hypot(settings.ktc_noise_e, settings.read_noise_e) / settings.gain_e_per_dn
        err = np.full(chip.flat.shape, scatter_dn / np.sqrt(_BIAS_RESETS), np.float32)
        return chip.bias_dn + err * noise, err, np.zeros_like(chip.dq)
    if reftype == "FLAT":
        blind = chip.flat <= 0
        err = np.full(chip.flat.shape, _FLAT_SIGMA, np.float32)
        data = np.where(blind, np.float32(0), chip.flat + err * noise)
        return data, err, chip.dq | np.where(blind, np.uint32(Dq.UNRELIABLE_FLAT), np.uint32(0))
    rate = chip.dark_e_per_s
    counted = rate
    if reftype == "SKY":
        rate = simulator.scene.light(detector, "sky") * chip.flat
        counted = rate + chip.dark_e_per_s
    err = _rate_sigma(simulator, counted)
    return rate + err * noise, err, chip.dq


def _coefficients(settings: SimulatorSettings) -> fits.ImageHDU:
    """Return the polynomial that undoes the bend x = y - A y^2 of signals in DN: y = x + A x^2 + 2 A^2 x^3."""
    bend_per_dn = settings.bend_per_e * settings.gain_e_per_dn
    values = np.array([0, 1, bend_per_dn, 2 * bend_per_dn**2], ">f4")
    shape = (len(values), settings.size, settings.size)
    return fits.ImageHDU(np.ascontiguousarray(np.broadcast_to(values[:, None, None], shape)), name="COEFFS")


def _rate_sigma(simulator: Simulator, rate_e_per_s: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the error of a rate from the difference of two reads as far apart as the exposure time."""
    settings = simulator.settings
    seconds = settings.reference_exposure_s
    return np.asarray(np.sqrt(rate_e_per_s * seconds + 2 * settings.read_noise_e**2) / seconds, np.float32)
