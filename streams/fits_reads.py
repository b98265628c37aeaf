"""FITS reads to messages: a directory of reads, a ramp in one file, an HST multi-accum file.

All headers are read, and everything in them checked, before the first message leaves; pixels are read
one plane at a time as they are asked for. `docs/fits.md` lists the forms and the keywords.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import msgspec

from streams.clock import iso_utc
from streams.closing import Closing
from streams.errors import ReadsError
from streams.fits_files import expand, guarded, open_fits, pixels
from streams.fits_keys import Constants, FitsKeys
from streams.fits_planes import Plane, planes_of
from streams.messages import Message, Observe, ObserveHeader, ObserveName, Read, ReadHeader


class FitsSource(Closing):
    """A source of messages that come from FITS files.

    Parameters
    ----------
    inputs
        Files, and directories of `*.fits`, `*.fits.fz`, `*.fits.gz`.
    families
        The tables `[fits_keys.NAME]`.
    family
        Takes all files as of this family; None recognises each.
    given
        Values that win over the files' keywords.

    Raises
    ------
    ReadsError
        If a file cannot become reads; from here for all that headers show, from `receive` for pixels.
    """

    def __init__(
        self,
        inputs: Sequence[Path],
        families: Mapping[str, FitsKeys],
        *,
        family: str | None = None,
        given: Constants | None = None,
    ) -> None:
        self._messages = read_messages(inputs, families, family=family, given=given)
        self.exhausted = False
        self.counters: Counter[str] = Counter()

    def receive(self, timeout_s: float) -> Message | None:  # noqa: ARG002 - files do not make one wait
        """Return the next message; None, with `exhausted` set, after the last."""
        message = next(self._messages, None)
        if message is None:
            self.exhausted = True
            return None
        self.counters["received"] += 1
        return message

    def close(self) -> None:
        """Close the file that is open."""
        self._messages.close()


def read_messages(
    inputs: Sequence[Path],
    families: Mapping[str, FitsKeys],
    *,
    family: str | None = None,
    given: Constants | None = None,
) -> Generator[Message]:
    """Return the messages of FITS files: of each exposure its start, its reads in order, and its end.

    Exposures come in the order of their first reads' times, those of the same time as they were given.
    Parameters and errors are those of `FitsSource`; the headers are read by this call, pixels later.
    """
    planes: list[Plane] = []
    for path in expand(inputs):
        with open_fits(path) as hdus, guarded(path):
            planes += planes_of(path, hdus, families, family, given or Constants())
    exposures: dict[tuple[str, str, str], list[Plane]] = defaultdict(list)
    for plane in planes:
        exposures[plane.header.instrument, plane.header.detector, plane.header.exposure_id].append(plane)
    ordered = sorted(map(_in_order, exposures.values()), key=lambda exposure: exposure[0].header.time_ns)
    return _messages(ordered)


def _messages(exposures: list[list[Plane]]) -> Generator[Message]:
    sequences: dict[str, int] = defaultdict(int)
    for planes in exposures:
        first, last = planes[0].header, planes[-1].header
        yield _observe("ExposureStart", first, first.time_ns, sequences)
        for plane, data in _with_pixels(planes):
            header = msgspec.structs.replace(plane.header, sequence=sequences[plane.header.source])
            sequences[header.source] += 1
            yield Read(header, data)
        yield _observe("ExposureEnd", first, last.time_ns + last.frame_time_ns, sequences)


def _observe(name: ObserveName, read: ReadHeader, time_ns: int, sequences: dict[str, int]) -> Observe:
    header = ObserveHeader(
        instrument=read.instrument,
        detector=read.detector,
        sequence=0,
        time_ns=time_ns,
        name=name,
        exposure_id=read.exposure_id,
        parameters={"rampsInExposure": read.ramps_planned, "readsInRamp": read.reads_planned},
        setup=read.setup,
    )
    header = msgspec.structs.replace(header, sequence=sequences[header.source])
    sequences[header.source] += 1
    return Observe(header)


def _with_pixels(planes: list[Plane]) -> Iterator[tuple[Plane, Any]]:
    """Read the planes' pixels; neighbours in one file share its opening."""
    for path, group in groupby(planes, key=lambda plane: plane.path):
        with ExitStack() as stack:
            hdus = stack.enter_context(open_fits(path))
            for plane in group:
                data = pixels(path, hdus[plane.extension], plane.index, plane.factor)
                if data.shape != plane.shape:
                    raise ReadsError(f"{path}: pixels are {data.shape}, the header said {plane.shape}; damaged")
                yield plane, data


def _in_order(planes: list[Plane]) -> list[Plane]:
    """Return an exposure's reads by number, with the setup of the first and times that fit together."""
    ordered = sorted(planes, key=lambda plane: (plane.header.ramp, plane.header.read))
    for one, other in pairwise(ordered):
        _check_neighbours(one, other)
    ordered = [plane for _, ramp in groupby(ordered, lambda plane: plane.header.ramp) for plane in _anchored([*ramp])]
    for one, other in pairwise(ordered):
        if other.header.time_ns <= one.header.time_ns:
            raise ReadsError(
                f"{other.path}: {_number(other)} starts at {iso_utc(other.header.time_ns)}, not after {_number(one)} "
                f"({iso_utc(one.header.time_ns)}, {one.path.name}); check the time keywords or the numbers"
            )
    first = ordered[0].header
    # References are chosen once for an exposure, so its reads must not disagree about the setup.
    setup = {"DATE-OBS": iso_utc(first.time_ns), **first.setup}
    return [_with_header(plane, setup=setup) for plane in ordered]


def _check_neighbours(one: Plane, other: Plane) -> None:
    if (one.header.ramp, one.header.read) == (other.header.ramp, other.header.read):
        raise ReadsError(
            f"{other.path}: {_number(other)} of exposure {other.header.exposure_id!r} is also in {one.path}; "
            "leave one out, or give the exposures one by one"
        )
    if one.shape != other.shape:
        raise ReadsError(
            f"{other.path}: {_number(other)} has shape {other.shape}, {_number(one)} of the same exposure "
            f"({one.path.name}) has {one.shape}; all reads must have one shape"
        )


def _anchored(ramp: list[Plane]) -> list[Plane]:
    """Count all times from the first read's: time stamps may be whole seconds, times since reset are exact."""
    zero = ramp[0]
    if any(plane.elapsed_ns is None for plane in ramp) or zero.elapsed_ns is None:
        return ramp
    reset_ns = zero.header.time_ns - zero.elapsed_ns
    return [
        _with_header(
            plane,
            time_ns=reset_ns + (plane.elapsed_ns or 0),
            reset_ns=reset_ns if plane.header.reset_ns is None else plane.header.reset_ns,
        )
        for plane in ramp
    ]


def _with_header(plane: Plane, **changes: Any) -> Plane:
    header = msgspec.structs.replace(plane.header, **changes)
    return Plane(plane.path, plane.extension, plane.index, plane.factor, plane.shape, plane.elapsed_ns, header)


def _number(plane: Plane) -> str:
    return f"ramp {plane.header.ramp} read {plane.header.read}"
