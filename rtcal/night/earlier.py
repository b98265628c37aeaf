"""References of the night that an earlier run of the daemon left: what a restart takes up again."""

import glob
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from refcache import RefcacheError, load_reference
from refcache.fits_images import read_cards
from rtcal.night.groups import MIDDLE, Made, file_pattern, of_this_night, setup_of
from rtcal.night.kinds import Kind
from streams.clock import parse_iso_utc

SERVING: tuple[Kind, ...] = ("dark", "sky")
"""Kinds of which a reference serves frames."""


def earlier(
    directory: Path, instrument: str, detector: str, before_ns: int, fresh_ns: int, tell: Callable[[str], None]
) -> Iterator[Made]:
    """Yield the newest reference of each kind and setup of a detector.

    Parameters
    ----------
    directory
        Where they are.
    instrument, detector
        Whose.
    before_ns
        TAI of the exposure that asks; what is of a later time belongs to another run [ns].
    fresh_ns
        Age from which a sky serves nobody [ns].
    tell
        Told of each file that cannot be used; it is left as it is.
    """
    for kind in SERVING:
        found: dict[object, tuple[int, Path]] = {}
        for path in sorted(directory.glob(file_pattern(kind, glob.escape(instrument), glob.escape(detector)))):
            try:
                cards = read_cards(path)
            except RefcacheError as error:
                tell(f"{error}; it is left as it is")
                continue
            try:
                middle_ns = parse_iso_utc(str(cards.get(MIDDLE, "")))
            except ValueError:
                tell(f"{path}: {MIDDLE} is {cards.get(MIDDLE, '')!r}, no date; the file is left as it is")
                continue
            age_ns = before_ns - middle_ns
            if age_ns >= 0 and (kind == "dark" or age_ns <= fresh_ns):
                setup = setup_of(kind, cards, (0, 0))
                found[setup] = max(found.get(setup, (middle_ns, path)), (middle_ns, path))
        for middle_ns, path in found.values():
            try:
                yield _made(kind, path, middle_ns)
            except RefcacheError as error:
                tell(f"{error}; it is left as it is")


def _made(kind: Kind, path: Path, middle_ns: int) -> Made:
    reference = load_reference(path, kind)
    version = str(reference.header.get("REFVER", "1"))
    exposures = int(version) if version.isdecimal() else 1
    reference = replace(reference, notes=(of_this_night(exposures),))
    return Made(reference, kind, setup_of(kind, reference.header, reference.shape), middle_ns, exposures)
