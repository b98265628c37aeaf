"""A picture as a FITS file, for the disk or for another program by SAMP."""

import logging
import math
import re
import tempfile
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dashboards.picture import Picture
from dashboards.samp import Hub, NoHub
from streams.clock import iso_utc
from streams.cube_axes import cube_axes, white_axes
from streams.messages import CubeHeader, FrameHeader, WhiteHeader

log = logging.getLogger(__name__)

LOAD = "image.load.fits"
FITS_BLOCK = 2880
PIECE_PIXELS = 1 << 20


def file_name(picture: Picture) -> str:
    """Return a name that says what is in the file, of harmless characters."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", f"{picture.header.exposure_id}_{picture.detector}_{picture.view}.fits")


def write_fits(picture: Picture, file: BinaryIO) -> None:
    """Write the finest image that is kept of a picture: DATA, ERR and DQ where there are any; a cube as a cube.

    It is what the display shows, for a look in another program; the reducer's own files hold more. It is written
    piece by piece: a frame of 200 MB is never in memory twice.
    """
    level = picture.levels[0]
    planes: list[tuple[str, Any]] = [("DATA", level.data), ("ERR", level.err), ("DQ", level.dq)]
    if picture.cube is not None and picture.collapse is None:
        planes = [("DATA", picture.cube.data), ("ERR", picture.cube.err), ("DQ", picture.cube.dq)]
    unit = "adu" if picture.units == "DN" else "electron/s"
    file.write(_primary(picture, level.binning))
    for name, plane in planes:
        if plane is not None:
            cards = {"EXTNAME": name} | ({} if name == "DQ" else {"BUNIT": unit})
            cards |= _coordinates(picture, len(plane.shape), level.binning)
            file.write(_header_of(plane.shape, flags=name == "DQ", cards=cards))
            _write_pixels(plane, file)


def _write_pixels(plane: Any, file: BinaryIO) -> None:
    """Write rate or error as float32, flags as FITS has unsigned integers: less 2**31."""
    step = max(1, PIECE_PIXELS // math.prod(plane.shape[1:]))
    written = 0
    for first in range(0, plane.shape[0], step):
        part = plane[first : first + step]
        big = (part ^ np.uint32(1 << 31)).astype(">u4") if part.dtype == np.uint32 else part.astype(">f4")
        written += file.write(big.tobytes())
    file.write(bytes(-written % FITS_BLOCK))


def _header_of(shape: Sequence[int], *, flags: bool, cards: dict[str, Any]) -> bytes:
    from astropy.io import fits  # 11 MB that a display has no use for until somebody saves something

    axes = {f"NAXIS{number}": side for number, side in enumerate(reversed(shape), 1)}
    needed = {
        "XTENSION": "IMAGE",
        "BITPIX": 32 if flags else -32,
        "NAXIS": len(shape),
        **axes,
        "PCOUNT": 0,
        "GCOUNT": 1,
    }
    scaled = {"BSCALE": 1, "BZERO": 1 << 31} if flags else {}
    return bytes(fits.Header((needed | scaled | cards).items()).tostring(), "ascii")


def _primary(picture: Picture, binning: int) -> bytes:
    from astropy.io import fits

    header = picture.header
    facts = {"INSTRUME": header.instrument, "DETECTOR": picture.detector, "EXPID": header.exposure_id}
    facts |= {"FILTER": str(header.setup.get("FILTER", "")), "DATE-END": iso_utc(header.time_ns), "VIEW": picture.view}
    cards = fits.Header({"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}.items())
    for name, value in facts.items():
        cards[name] = re.sub(r"[^ -~]", "?", value)[:60]
    cards["BINNING"] = (binning, "detector pixels on a side of a pixel")
    return bytes(cards.tostring(), "ascii")


def _coordinates(picture: Picture, axes: int, binning: int) -> dict[str, Any]:
    header = picture.header
    if isinstance(header, FrameHeader) and binning == 1:
        return {name: value for name, value in header.wcs.items() if re.fullmatch(r"[A-Z0-9_]{1,8}", name)}
    if isinstance(header, CubeHeader | WhiteHeader):
        return cube_axes(header) if axes == 3 else white_axes(header)
    return {}


class Samp:
    """Sends pictures to the programs at this machine's SAMP hub (DS9, TOPCAT, Aladin ...).

    Notes
    -----
    A file is written for them to read; the last one is kept until the next is sent.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quicklook-samp-")

    def send(self, picture: Picture) -> dict[str, Any]:
        """Send a picture to whoever loads FITS images; the reply says to whom, or why not."""
        try:
            with Hub("IRIS quick-look") as hub:
                names = hub.who_takes(LOAD)
                if not names:
                    return {"ok": False, "why": "no program at the SAMP hub loads FITS images"}
                for old in Path(self._folder.name).iterdir():
                    old.unlink()
                path = Path(self._folder.name) / file_name(picture)
                with path.open("wb") as file:
                    write_fits(picture, file)
                hub.tell_all(LOAD, {"url": path.as_uri(), "name": path.name})
                return {"ok": True, "to_whom": ", ".join(names)}
        except NoHub:
            return {"ok": False, "why": "no SAMP hub runs on the display's machine: start DS9 or TOPCAT there"}
        except (OSError, xmlrpc.client.Error) as error:
            log.exception("SAMP")
            return {"ok": False, "why": f"it could not be sent: {error}"}

    def close(self) -> None:
        """Take the last file away."""
        self._folder.cleanup()
