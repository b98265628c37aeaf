"""Small CRDS caches and reference files, written where a test wants them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from astropy.io import fits

from refcache import REFTYPES, RefcacheSettings
from refcache.mappings import mapping_sha1
from streams.settings import load

SHAPE = (6, 8)
STALE_S = dict.fromkeys(REFTYPES, 90 * 86400.0) | {"dark": 7 * 86400.0, "badpix": 30 * 86400.0, "sky": 1800.0}
UNITS = {"rate": "e-/s", "level": "DN", "charge": "e-", "gain": "e-/DN"}


class _Tables(msgspec.Struct, frozen=True):
    refcache: RefcacheSettings


def settings(**changes: Any) -> RefcacheSettings:
    """The shipped [refcache] table with some values changed."""
    return msgspec.structs.replace(load(None, _Tables).refcache, **changes)


def signed(text: str) -> str:
    """The mapping's text with its right checksum in the place of `SUM`."""
    return text.replace("SUM", mapping_sha1(text))


def rmap_text(selector: str, parkey: str, filekind: str = "DARK", extra: str = "") -> str:
    """An rmap without a checksum problem; `selector` and `parkey` are literal source."""
    return signed(
        "header = {\n"
        "    'derived_from' : 'by hand',\n"
        f"    'filekind' : '{filekind}',\n"
        "    'instrument' : 'IRIS',\n"
        "    'mapping' : 'REFERENCE',\n"
        f"    'name' : 'tmt_iris_{filekind.lower()}_0001.rmap',\n"
        "    'observatory' : 'TMT',\n"
        f"    'parkey' : {parkey},\n"
        "    'sha1sum' : 'SUM',\n"
        f"{extra}"
        "}\n\n"
        f"selector = {selector}\n"
    )


def write_cache(root: Path, rmaps: Mapping[str, str], words: Mapping[str, str] | None = None, serial: int = 1) -> Path:
    """Write a tmt cache whose imap names `rmaps` (text by type) and special `words` by type."""
    folder = root / "mappings" / "tmt"
    folder.mkdir(parents=True, exist_ok=True)
    types = dict(words or {})
    for filekind, text in rmaps.items():
        types[filekind] = f"tmt_iris_{filekind.lower()}_{serial:04d}.rmap"
        (folder / types[filekind]).write_text(text)
    top = "header = {\n 'derived_from' : 'by hand',\n 'mapping' : '%s',\n 'observatory' : 'TMT',\n%s"
    imap = top % ("INSTRUMENT", f" 'name' : 'tmt_iris_{serial:04d}.imap',\n 'instrument' : 'IRIS',\n")
    imap += f" 'parkey' : ('REFTYPE',),\n 'sha1sum' : 'SUM',\n}}\n\nselector = {types!r}\n"
    (folder / f"tmt_iris_{serial:04d}.imap").write_text(signed(imap))
    pmap = top % ("PIPELINE", f" 'name' : 'tmt_{serial:04d}.pmap',\n")
    pmap += " 'parkey' : ('META.INSTRUMENT.NAME',),\n 'sha1sum' : 'SUM',\n}\n\n"
    pmap += f"selector = {{ 'IRIS' : 'tmt_iris_{serial:04d}.imap' }}\n"
    (folder / f"tmt_{serial:04d}.pmap").write_text(signed(pmap))
    return root


def reference_hdus(
    reftype: str = "dark", shape: tuple[int, int] = SHAPE, value: float = 2.0, **cards: object
) -> fits.HDUList:
    """A sound reference file of the type, with further cards in PRIMARY."""
    primary = fits.PrimaryHDU()
    primary.header.update({"REFTYPE": reftype.upper(), "PEDIGREE": "SIMULATION", "USEAFTER": "2027-01-01 00:00:00"})
    for key, card in cards.items():
        primary.header[key.replace("_", "-")] = card
    dq = fits.ImageHDU(np.zeros(shape, np.uint32), name="DQ")
    kind = REFTYPES[reftype]
    hdus = fits.HDUList([primary])
    if kind.images[0] != "DQ":
        data = np.full(shape, value, np.float32)
        cube = np.stack([data * 0, data, data * 1e-6]) if kind.cube else data
        hdus.append(fits.ImageHDU(cube, name=kind.images[0]))
        if kind.unit in UNITS:
            hdus[1].header["BUNIT"] = UNITS[kind.unit]
    if kind.has_err:
        hdus.append(fits.ImageHDU(np.full(shape, 0.1, np.float32), name="ERR"))
    hdus.append(dq)
    return hdus


def write_reference(path: Path, reftype: str = "dark", **kwargs: Any) -> Path:
    """Write `reference_hdus` to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    reference_hdus(reftype, **kwargs).writeto(path, overwrite=True)
    return path
