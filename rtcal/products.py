"""Frames on disk: a `Frame` message as a FITS file, the same bits live, replayed and offline.

`docs/fits.md` lists extensions and cards. Nothing here depends on when the file is written: the message's
`published_ns` stays out of it.
"""

import hashlib
import math
import re
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits

from rtcal.quality_cards import quality_cards
from rtcal.telemetry_table import ascii_text, residual_cards, residual_table, telemetry_cards, telemetry_table
from streams.clock import iso_utc, tai_to_mjd
from streams.errors import ImageError
from streams.fits_images import write_image
from streams.messages import CubeHeader, Frame, FrameHeader, Provenance, Scalar, SpectrumHeader
from streams.windows import base_detector

UNITS: Final = {"e-/s": "electron/s"}
"""Units of the messages as the FITS standard spells them."""

# 2020A-001-123-IRIS-IMG1-SCI0-0001, with -00 where it is a subarray's: the observatory's exposure ids.
_EXPOSURE_ID = re.compile(
    r"(?P<semester>\d{4}[AB])-(?P<program>\d+)-(?P<observation>\d+)-(?P<instrument>[A-Z]+)-(?P<detector>[A-Z0-9]+)"
    r"-(?P<type>[A-Z]{3})\d-(?P<exposure>\d{4})(?:-(?P<subarray>\d{2}))?"
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
# What says how a file is built is for the writer alone: a setup key of such a name would break the file.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|END|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|BUNIT|DATAMAX|DATAMIN|DATE"
    r"|EXTNAME|EXTVER|EXTLEVEL|INHERIT|CHECKSUM|DATASUM|LONGSTRN|COMMENT|HISTORY|CONTINUE|HIERARCH|TFIELDS|THEAP"
    r"|T(TYPE|FORM|UNIT|DISP|NULL|SCAL|ZERO|DIM|BCOL)\d+|Z[A-Z]+\d*"
    # World coordinates: the frame has its own.
    r"|(WCSAXES|WCSNAME|RADESYS|RADECSYS|SPECSYS|SSYS(OBS|SRC)|LONPOLE|LATPOLE)[A-Z]?"
    r"|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA|RDER|SYER|NAME)\d+[A-Z]?|(PC|CD|PV|PS)\d+_\d+[A-Z]?"
)
_STRICT_DATE = re.compile(r"DATE.*|TIME-OBS|TIMESYS|TIMEUNIT|MJD.*|TAI-.*")
# Keywords whose values the FITS standard wants as text, and as numbers.
_TEXTS = ("REFERENC", "AUTHOR", "ORIGIN", "TELESCOP", "INSTRUME", "OBSERVER", "OBJECT")
_NUMBERS = ("EQUINOX", "EPOCH")
_LONGEST_NAME = 120


def frame_cards(frame: Frame) -> fits.Header:
    """Return the PRIMARY cards of a frame.

    The setup's keys come first, under their own names. What FITS cannot hold (names longer than eight
    characters, characters beyond ASCII, values that are not finite) is changed to what it can, and a HISTORY
    card tells the original; so is a setup key whose name is one of the frame's own cards.
    """
    header = frame.header
    notes: list[str] = []
    cards = _setup_and_own(header, _own_cards(header), notes)
    sky = [] if header.adc is None else residual_cards(header.adc)
    for keyword, value, comment in [*sky, *telemetry_cards(header.telemetry)]:
        if keyword not in cards and not _STRUCTURE.fullmatch(keyword):
            _add(cards, keyword, value, comment, notes)
    for note in [*header.notes, *notes]:
        cards.add_history(ascii_text(note))
    return cards


def setup_cards(header: CubeHeader | SpectrumHeader, own: list[tuple[str, Scalar, str]]) -> fits.Header:
    """Return the PRIMARY cards of a product of a frame: the setup's keys as `frame_cards` has them, then its own."""
    notes: list[str] = []
    cards = _setup_and_own(header, own, notes)
    for note in [*header.notes, *notes]:
        cards.add_history(ascii_text(note))
    return cards


def _setup_and_own(
    header: FrameHeader | CubeHeader | SpectrumHeader, own: list[tuple[str, Scalar, str]], notes: list[str]
) -> fits.Header:
    cards = fits.Header()
    names: dict[str, Scalar] = {"INSTRUME": header.instrument, "DETECTOR": base_detector(header.detector)}
    for key, value in {**names, **header.setup}.items():
        _add_setup(cards, key, value, {keyword for keyword, _, _ in own}, notes)
    for keyword, value, comment in own:
        _add(cards, keyword, value, comment, notes)
    return cards


def write_frame(frame: Frame, directory: Path) -> Path:
    """Write a frame, replacing an earlier one of the same name in one step; return its path.

    Extensions: DATA, ERR, DQ, SATREAD (uint16), REFERENCES, TELEM and ADC (where there is telemetry), DQ_DEF; the
    directory is made if it is missing.

    Raises
    ------
    ImageError
        If the file cannot be written; nothing written before is damaged.
    """
    make_directory(directory)
    path = directory / file_name(frame.header)
    saturated = fits.ImageHDU(np.array(frame.saturated_from, dtype=np.uint16), name="SATREAD")
    references = reference_table(frame.header.references)
    telemetry = [telemetry_table(frame.header.telemetry)] if frame.header.telemetry else []
    if frame.header.adc is not None and frame.header.adc.x_mas:
        telemetry.append(residual_table(frame.header.adc))
    write_image(
        path,
        frame_cards(frame),
        frame.data,
        frame.err,
        frame.dq,
        extra=[saturated, references, *telemetry],
        coordinates=frame.header.wcs,
        overwrite=True,
    )
    return path


def make_directory(directory: Path) -> None:
    """Make the directory for frames if it is not there.

    Raises
    ------
    ImageError
        If it cannot be made, or is a file.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{directory}: cannot be made: {error.strerror}; choose another directory") from error


def file_name(header: FrameHeader | CubeHeader | SpectrumHeader) -> str:
    """Return the name of a frame's file, the same for every issue of the same ramps.

    An observatory exposure id gives `SEM-PROG-OBS_IRIS_DET_TYPE_LVLn_EXP-SUB.fits`; any other id gives
    `ID_DETECTOR.fits`, with what does not belong into a file name replaced and a checksum of the id added. A
    frame after which more ramps are expected ends in `_rNNN`, the number of ramps in it.
    """
    ramps = "" if header.final else f"_r{header.ramps:03d}"
    found = _EXPOSURE_ID.fullmatch(header.exposure_id)
    detector = base_detector(header.detector)
    if found and found["detector"] == detector and (found["subarray"] or detector == header.detector):
        level = (
            2 if any(item.reftype.upper() in ("DARK", "SKY") and _applied(item) for item in header.references) else 1
        )
        return (
            f"{found['semester']}-{found['program']}-{found['observation']}_{found['instrument']}_{detector}_"
            f"{found['type']}_LVL{level}_{found['exposure']}-{found['subarray'] or '00'}{ramps}.fits"
        )
    name = f"{header.exposure_id}_{header.detector}"
    safe = _UNSAFE.sub("_", name).lstrip(".-")[:_LONGEST_NAME]
    if safe != name:  # two ids must not share a file because they differ only in what was replaced
        safe += "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe}{ramps}.fits"


def _own_cards(header: FrameHeader) -> list[tuple[str, Scalar, str]]:
    begin, end = header.first_read_ns, header.time_ns
    cards: list[tuple[str, Scalar, str]] = [
        ("DATAMODL", "IrisRtcalFrame", "reduced image"),
        ("CREATOR", header.software, "program"),
        ("SOURCE", header.source.rpartition("/")[0], "instrument/detector of the stream"),
        ("EXPID", header.exposure_id, "exposure"),
        ("REVISION", header.revision, "issue of this exposure's frame"),
        ("BUNIT", UNITS[header.units], "unit of DATA and ERR"),
        ("TIMESYS", "UTC", "scale of dates and MJD"),
        ("DATE-OBS", iso_utc(begin), "start of the first read"),
        ("DATE-END", iso_utc(end), "start of the last read"),
        ("MJD-OBS", tai_to_mjd(begin), "[d] start of the first read"),
        ("MJD-END", tai_to_mjd(end), "[d] start of the last read"),
        ("TAI-BEG", begin, "[ns] first read, TAI since 1970"),
        ("TAI-END", end, "[ns] last read, TAI since 1970"),
        ("EFFINTTM", header.effective_s, "[s] first to last read, all ramps"),
        ("RAMPMODE", header.mode.upper(), "estimate of the slope"),
        ("RDPEREND", header.reads_per_end, "reads averaged at each end (MCDS)"),
        ("NRAMPS", header.ramps, "ramps combined"),
        ("NRAMPPLN", header.ramps_planned, "ramps planned, 0 unknown"),
        ("NREADPLN", header.reads_planned, "reads planned in a ramp, 0 unknown"),
        ("NREADS", header.reads_used, "reads used"),
        ("NRDLOST", header.reads_lost, "reads lost"),
        ("NRDREJ", header.reads_rejected, "reads rejected"),
        ("NRDEXCL", header.reads_excluded, "reads left out by a rule"),
        ("COMPLETE", header.complete, "all planned reads are in"),
        ("FINAL", header.final, "no further ramp expected"),
        ("GAIN", header.gain_e_per_dn, "[electron/adu]"),
        ("RDNOISE", header.read_noise_e, "[electron] of one read"),
        ("RNKIND", "SINGLE", "RDNOISE is that of one read"),
        ("SATURATE", header.saturation_dn, "[adu] saturation level"),
    ]
    if header.sky_scale is not None:
        cards.append(("SKYSCALE", header.sky_scale, "the sky was multiplied by this"))
    cards += [("CRDS_CTX", header.crds_context, "CRDS context"), ("CRDS_SHA", header.crds_sha1, "its SHA-1")]
    quality = [] if header.quality is None else quality_cards(header.quality)
    return cards + quality + _reference_cards(header.references)


def _reference_cards(references: list[Provenance]) -> list[tuple[str, Scalar, str]]:
    """Return R_xxx (file) and S_xxx (status) of each reference, xxx the first six characters of its type."""
    cards: dict[str, tuple[str, Scalar, str]] = {}
    for item in references:
        short = re.sub(r"[^A-Z0-9_-]", "_", item.reftype.upper())[:6]
        if f"R_{short}" in cards:
            continue  # the table REFERENCES has all of them
        cards[f"R_{short}"] = (f"R_{short}", item.name or "N/A", f"{item.reftype} reference")
        cards[f"S_{short}"] = (f"S_{short}", item.status, f"{item.reftype} status")
    return list(cards.values())


def reference_table(references: list[Provenance]) -> fits.BinTableHDU:
    """Return the table REFERENCES: REFTYPE, NAME, SHA256, AGE [s, NaN unknown], STATUS, NOTE."""
    texts: dict[str, list[str]] = {
        "REFTYPE": [item.reftype for item in references],
        "NAME": [item.name for item in references],
        "SHA256": [item.sha256 for item in references],
        "STATUS": [str(item.status) for item in references],
        "NOTE": [item.note for item in references],
    }
    columns = {}
    for name, values in texts.items():
        clean = [ascii_text(value) for value in values]
        columns[name] = fits.Column(name, f"{max([1, *map(len, clean)])}A", array=np.array(clean, dtype=np.bytes_))
    ages = np.array([math.nan if item.age_s is None else item.age_s for item in references], dtype=np.float64)
    columns["AGE"] = fits.Column("AGE", "D", unit="s", array=ages)
    order = ("REFTYPE", "NAME", "SHA256", "AGE", "STATUS", "NOTE")
    return fits.BinTableHDU.from_columns([columns[name] for name in order], name="REFERENCES")


def _applied(item: Provenance) -> bool:
    return item.status in ("OK", "STALE")


def _add_setup(cards: fits.Header, key: str, value: Scalar, taken: set[str], notes: list[str]) -> None:
    """Add a setup value under its name, or the nearest that FITS allows."""
    name = re.sub(r"[^A-Z0-9_-]", "_", key.upper())[:8]
    if not _KEYWORD.fullmatch(name) or _STRUCTURE.fullmatch(name):
        notes.append(f"setup {key!a} = {value!a} has no card: the name is not free in FITS")
    elif name in taken or _STRICT_DATE.fullmatch(name):
        if name not in ("DATE-OBS", "TIME-OBS"):  # the frame's own DATE-OBS says more
            notes.append(f"setup {key!a} = {value!a} has no card: {name} is the frame's own")
    elif name in cards and name not in ("INSTRUME", "DETECTOR"):
        notes.append(f"setup {key!a} = {value!a} has no card: {name} is taken by another key")
    else:
        if name != key:
            notes.append(f"setup {key!a} is in the card {name}")
        _add(cards, name, value, "", notes)


def _add(cards: fits.Header, keyword: str, value: Scalar, comment: str, notes: list[str]) -> None:
    """Set a card to what FITS can hold of `value`; the comment is left out where it does not fit."""
    if isinstance(value, float) and not math.isfinite(value):
        notes.append(f"{keyword} has no card: it was {value}")
        return
    if keyword in _NUMBERS and (isinstance(value, str | bool)):
        notes.append(f"{keyword} has no card: it was {value!a}, no number")
        return
    text = str(value) if keyword in _TEXTS else value
    clean = ascii_text(text) if isinstance(text, str) else text
    if clean != value:
        notes.append(f"{keyword} was {value!a}")
    card = fits.Card(keyword, clean)
    room = fits.Card.length - len(card.image.rstrip()) - len(" / ")
    cards.set(keyword, clean, comment if len(comment) <= room else "")
