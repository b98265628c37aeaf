"""The truth of an exposure as a FITS file, to hold results against."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from streams.clock import iso_utc
from streams.errors import ReferencesError
from streams.fits_images import write_hdus
from streams.simulator.arcs import trace_columns
from streams.simulator.scene import Scene
from streams.simulator.settings import SimulatorSettings
from streams.simulator.setup import instrument_keys
from streams.simulator.truth import NEVER, ExposureTruth


def write_truth(settings: SimulatorSettings, scene: Scene, truth: ExposureTruth, directory: Path) -> Path:
    """Write what was put into one exposure and return the file's path.

    Parameters
    ----------
    settings
        The simulation's.
    scene
        The simulation's.
    truth
        What the simulator handed out at the exposure's end.
    directory
        Where to; made if it is not there. The file is `truth_<exposure id>.fits`; an older one is replaced.

    Raises
    ------
    ReferencesError
        If the directory cannot be made.
    ImageError
        If the file cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReferencesError(f"{directory}: cannot be made: {error}; choose another directory") from error
    chip = scene.chips[truth.detector]
    crread, crelec = _cosmic_planes(truth)
    images = {
        "RATE": ((truth.rate_e_per_s - chip.dark_e_per_s), "e-/s"),
        "DARK": (chip.dark_e_per_s, "e-/s"),
        "FLAT": (chip.flat, None),
        "BADPIX": (chip.dq, None),
        "CRREAD": (crread, None),
        "CRELEC": (crelec, "e-"),
        "SATREAD": (truth.saturated_from, None),
    }
    hdus = fits.HDUList([_primary(settings, truth)])
    for name, (image, unit) in images.items():
        hdus.append(fits.ImageHDU(image.astype(image.dtype.newbyteorder(">")), name=name))
        if unit:
            hdus[-1].header["BUNIT"] = unit
    hdus.append(fits.BinTableHDU(truth.cosmics, name="COSMICS"))
    hdus.append(_objects(scene, truth.detector, settings.size))
    path = directory / f"truth_{truth.exposure_id}.fits"
    write_hdus(path, hdus, overwrite=True)
    return path


def _primary(settings: SimulatorSettings, truth: ExposureTruth) -> fits.PrimaryHDU:
    header = fits.Header()
    for key, value in instrument_keys(settings, truth.detector).items():
        header[key] = value
    header["EXPID"] = truth.exposure_id
    header["DATE-BEG"] = (iso_utc(truth.start_ns), "UTC")
    header["GAIN"] = (settings.gain_e_per_dn, "[e-/DN]")
    header["RDNOISE"] = (settings.read_noise_e, "[e-] of a single read")
    header["FRMTIME"] = (settings.frame_time_s, "[s]")
    header["NREADS"] = (settings.reads_per_ramp, "reads in a ramp")
    header["NRAMPS"] = (settings.ramps_per_exposure, "ramps")
    header["SATURATE"] = (settings.saturation_dn, "[DN] raw level")
    header["NLCOEF_A"] = (settings.bend_per_e, "[1/e-] measured = q - a q^2")
    header["SEED"] = settings.seed
    header.add_comment("RATE: light times FLAT, without DARK. Pixels, reads and ramps count from 0.")
    header.add_comment(f"CRREAD, SATREAD: first read affected, the earliest over ramps; {NEVER}: none.")
    return fits.PrimaryHDU(header=header)


def _cosmic_planes(truth: ExposureTruth) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Return the first read hit and the charge of all hits, by pixel."""
    first = np.full(truth.rate_e_per_s.shape, NEVER, np.uint16)
    charge_e = np.zeros(truth.rate_e_per_s.shape, np.float32)
    at = (truth.cosmics["y"], truth.cosmics["x"])
    np.minimum.at(first, at, truth.cosmics["read"].astype(np.uint16))
    np.add.at(charge_e, at, truth.cosmics["charge_e"])
    return first, charge_e


def _objects(scene: Scene, detector: str, size: int) -> fits.BinTableHDU:
    """Return the table of stars, or of the spectra and their wavelengths."""
    if detector == "IFS":
        traces = scene.traces
        table = fits.BinTableHDU.from_columns(trace_columns(traces), name="TRACES")
        table.header["DWAVE"] = (traces.step_um, "[um] a pixel")
        table.header["BENDWAVE"] = (traces.bend_um, "[um] over the square of pixels from the middle")
        return table
    stars = scene.stars[detector].within(size, 0)
    columns = [
        fits.Column("X", "D", "pixel", array=stars.x_px),
        fits.Column("Y", "D", "pixel", array=stars.y_px),
        fits.Column("FLUX", "D", "electron/s", array=stars.flux_e_per_s),
    ]
    return fits.BinTableHDU.from_columns(columns, name="STARS")
