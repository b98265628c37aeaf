"""An ARC reference written, with the cards by which it is chosen."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

import rtcal
from rtcal.spectrograph.arctables import line_table, list_table, maps, paint, series_of, solution_table
from rtcal.spectrograph.solution import ArcSolution
from rtcal.spectrograph.traces import Traces
from streams.dq import Dq
from streams.fits_images import write_image
from streams.messages import Scalar

MATCH_KEYS = (
    "INSTERA", "INSTMODE", "GRATING", "FILTER", "SCALE", "LLMSKST", "SLMSKST", "SUBARRAY", "CHANNELS", "TELESCOP",
)  # fmt: skip


def write_arc(
    path: Path,
    solution: ArcSolution,
    traces: Traces,
    shape: tuple[int, int],
    header: Mapping[str, Scalar],
    lamps: Sequence[str],
    start: str,
    history: Sequence[str],
    *,
    spectra: NDArray[np.floating] | None = None,
    pedigree: str = "GROUND",
    overwrite: bool = False,
) -> None:
    """Write an ARC reference.

    Parameters
    ----------
    path
        The file.
    solution
        One trace for each of `traces`.
    traces
        Where they lie.
    shape
        Rows and columns of the detector.
    header
        What the arcs' reads said; the keys that choose references are taken.
    lamps
        Elements.
    start
        ISO UTC from when on it may be used.
    history
        What it was made of.
    spectra
        Real, (trace, t): the arc's light that the lines were found in, to be looked at later; None: not kept.
    pedigree
        INFLIGHT, GROUND, SIMULATION or DUMMY.
    overwrite
        True to replace a file.

    Raises
    ------
    ImageError
        If it cannot be written.
    """
    ident = paint(traces, shape)
    series = series_of(solution)
    wave, dispersion = maps(series, traces, ident)
    dq = np.zeros(shape, np.uint32)
    dq[~np.isfinite(wave)] |= np.uint32(Dq.NON_SCIENCE)
    failed = np.array([trace.matched is None for trace in solution.traces])
    if failed.any():
        dq[(ident >= 0) & np.isin(ident, traces.ident[failed])] |= np.uint32(Dq.UNRELIABLE_WS)
    wave_hdu = fits.ImageHDU(wave.astype(">f8"), name="WAVE")
    wave_hdu.header["BUNIT"] = ("um", "vacuum wavelength of pixel centres")
    dlam = fits.ImageHDU(dispersion.astype(">f4"), name="DLAM")
    dlam.header["BUNIT"] = "um/pixel"
    profile = np.column_stack([traces.sigma, traces.height]).astype(">f4")
    extra = [
        wave_hdu,
        dlam,
        fits.ImageHDU(ident.astype(">i4"), name="TRACEID"),
        fits.ImageHDU(profile, name="PROFILE"),
        solution_table(solution, traces, series),
        line_table(solution, traces),
        list_table(solution.listed),
    ]
    if spectra is not None:
        kept = fits.ImageHDU(spectra.astype(">f4"), name="SPECTRA")
        kept.header["BUNIT"] = ("electron/s", "of all arcs together, (trace, pixel from X0)")
        extra.append(kept)
    cards = _cards(solution, header, lamps, start, history, pedigree)
    write_image(path, cards, None, None, dq, extra=extra, overwrite=overwrite)


def _cards(
    solution: ArcSolution,
    header: Mapping[str, Scalar],
    lamps: Sequence[str],
    start: str,
    history: Sequence[str],
    pedigree: str,
) -> fits.Header:
    cards = reference_cards("ARC", header, start, pedigree)
    cards["DATAMODL"] = "ReferenceArc"
    cards["LAMPS"] = (",".join(lamps), "elements")
    cards["WAVEPOLY"] = ("CHEBYSHEV", "WAVECOEF over X0 ... X1")
    cards["ORDER"] = (solution.order, "of the wavelength polynomials")
    cards["NTRACE"] = (len(solution.traces), "traces")
    cards["NGOOD"] = (len(solution.solved), "traces with wavelengths")
    if solution.solved:
        cards["RMSPX"] = (solution.rms_px, "[pixel] of the lines used")
        cards["RMSKMS"] = (solution.rms_km_s, "[km/s] of the lines used")
    for line in history:
        cards["HISTORY"] = line
    return cards


def reference_cards(reftype: str, header: Mapping[str, Scalar], start: str, pedigree: str) -> fits.Header:
    """Return the cards by which a reference of spectra is chosen, and what it is.

    Parameters
    ----------
    reftype
        CRDS's type.
    header
        What the exposures said.
    start
        ISO UTC from when on it may be used.
    pedigree
        Where it comes from.
    """
    cards = fits.Header()
    cards["INSTRUME"] = str(header.get("INSTRUME", "UNKNOWN"))
    cards["DETECTOR"] = str(header.get("DETECTOR", "UNKNOWN"))
    for key in MATCH_KEYS:
        if key in header:
            cards[key] = header[key]
    cards["REFTYPE"] = (reftype, "type of reference")
    cards["REFVER"] = ("1", "version")
    cards["USEAFTER"] = (start[:19].replace("T", " "), "UTC")
    cards["PEDIGREE"] = (pedigree, "where it comes from")
    cards["DATE"] = (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "UTC, file made")
    cards["ORIGIN"] = f"rtcal {rtcal.__version__}"
    return cards
