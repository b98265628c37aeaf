"""A picture as a FITS file, for the disk or for another program by SAMP."""

import io
import logging
import re
import tempfile
import xmlrpc.client
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from dashboards.picture import Picture
from dashboards.samp import Hub, NoHub
from streams.clock import iso_utc
from streams.messages import CubeHeader, FrameHeader

log = logging.getLogger(__name__)

LOAD = "image.load.fits"


def file_name(picture: Picture) -> str:
    """Return a name that says what is in the file, of harmless characters."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", f"{picture.header.exposure_id}_{picture.detector}_{picture.view}.fits")


def as_fits(picture: Picture) -> bytes:
    """Write the finest image that is kept of a picture: DATA, ERR and DQ where there are any; a cube as a cube.

    It is what the display shows, for a look in another program; the reducer's own files hold more.
    """
    level = picture.levels[0]
    planes: list[tuple[str, Any]] = [("DATA", level.data), ("ERR", level.err), ("DQ", level.dq)]
    if picture.cube is not None and picture.collapse is None:
        planes = [("DATA", picture.cube.data), ("ERR", picture.cube.err), ("DQ", picture.cube.dq)]
    primary = fits.PrimaryHDU(header=_cards(picture, level.binning))
    images = [fits.ImageHDU(np.asarray(plane), name=name) for name, plane in planes if plane is not None]
    for image in images:
        image.header.update(_coordinates(picture, image.data.ndim, level.binning))
    images[0].header["BUNIT"] = "adu" if picture.units == "DN" else "electron/s"
    content = io.BytesIO()
    fits.HDUList([primary, *images]).writeto(content)
    return content.getvalue()


def _cards(picture: Picture, binning: int) -> fits.Header:
    header = picture.header
    cards = fits.Header()
    facts = {"INSTRUME": header.instrument, "DETECTOR": picture.detector, "EXPID": header.exposure_id}
    facts |= {"FILTER": str(header.setup.get("FILTER", "")), "DATE-END": iso_utc(header.time_ns), "VIEW": picture.view}
    for name, value in facts.items():
        cards[name] = re.sub(r"[^ -~]", "?", value)[:60]
    cards["BINNING"] = (binning, "detector pixels on a side of a pixel")
    return cards


def _coordinates(picture: Picture, axes: int, binning: int) -> dict[str, Any]:
    header = picture.header
    if isinstance(header, FrameHeader) and binning == 1:
        return {name: value for name, value in header.wcs.items() if re.fullmatch(r"[A-Z0-9_]{1,8}", name)}
    if isinstance(header, CubeHeader) and axes == 3:
        wave = {"CTYPE3": "WAVE", "CUNIT3": "um", "CRPIX3": 1.0}
        return wave | {"CRVAL3": header.wave_first_um, "CDELT3": header.wave_step_um}
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
                path.write_bytes(as_fits(picture))
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
