"""FITS reads to messages: a directory of reads, a ramp in one file, an HST multi-accum file.

All headers are read, and everything in them checked, before the first message leaves; pixels are read
one plane at a time as they are asked for. `docs/fits.md` lists the forms and the keywords.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
from astropy.io import fits

from streams.clock import NS, iso_utc
from streams.errors import ReadsError
from streams.fits_files import expand, guarded, open_fits, pixels
from streams.fits_keys import Constants, Fields, FitsKeys, recognise
from streams.messages import MAX_SIDE, Message, Observe, ObserveHeader, ObserveName, Read, ReadHeader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Plane:
    """A read that is still in its file."""

    path: Path
    extension: int
    index: tuple[int, ...]
    factor: float | None
    shape: tuple[int, int]
    elapsed_ns: int | None
    """From reset to the first pixel, where the file says so beside the read's own time."""
    header: ReadHeader


class FitsSource:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    planes: list[_Plane] = []
    for path in expand(inputs):
        with open_fits(path) as hdus, guarded(path):
            planes += _planes_of(path, hdus, families, family, given or Constants())
    exposures: dict[tuple[str, str, str], list[_Plane]] = defaultdict(list)
    for plane in planes:
        exposures[plane.header.instrument, plane.header.detector, plane.header.exposure_id].append(plane)
    ordered = sorted(map(_in_order, exposures.values()), key=lambda exposure: exposure[0].header.time_ns)
    return _messages(ordered)


def _messages(exposures: list[list[_Plane]]) -> Generator[Message]:
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


def _with_pixels(planes: list[_Plane]) -> Iterator[tuple[_Plane, Any]]:
    """Read the planes' pixels; neighbours in one file share its opening."""
    for path, group in groupby(planes, key=lambda plane: plane.path):
        with ExitStack() as stack:
            hdus = stack.enter_context(open_fits(path))
            for plane in group:
                data = pixels(path, hdus[plane.extension], plane.index, plane.factor)
                if data.shape != plane.shape:
                    raise ReadsError(f"{path}: pixels are {data.shape}, the header said {plane.shape}; damaged")
                yield plane, data


def _planes_of(
    path: Path, hdus: fits.HDUList, families: Mapping[str, FitsKeys], family: str | None, given: Constants
) -> list[_Plane]:
    name = recognise(path, [hdu.header for hdu in hdus[:2]], families, family)
    keys = families[name]
    images = _images(path, hdus, name, keys)

    def fields(extension: int) -> Fields:
        return Fields(path, name, keys, (hdus[extension].header, hdus[0].header), given)

    if keys.layout == "ima":
        planes = _ima(path, {extension: (hdus[extension], fields(extension)) for extension in images})
    else:
        planes = _image(path, images[0], hdus[images[0]], fields(images[0]))
    for plane in planes:
        if not 1 <= min(plane.shape) <= max(plane.shape) <= MAX_SIDE:
            raise ReadsError(f"{path}: reads of shape {plane.shape}; 1 to {MAX_SIDE} pixels on a side are taken")
    return planes


def _images(path: Path, hdus: fits.HDUList, name: str, keys: FitsKeys) -> list[int]:
    """Return the numbers of the extensions of the first image name that is there with pixels."""
    for wanted in keys.images:
        found = [n for n, hdu in enumerate(hdus) if hdu.is_image and hdu.name == wanted and hdu.shape]
        if found:
            return found
    there = ", ".join(hdu.name or str(number) for number, hdu in enumerate(hdus))
    raise ReadsError(
        f"{path}: no image {' or '.join(keys.images)} with pixels (found {there}); "
        f"truncated, or `images` of [fits_keys.{name}] does not fit"
    )


def _image(path: Path, extension: int, hdu: Any, fields: Fields) -> list[_Plane]:
    """Return the reads of an image of 2 axes (y, x), 3 (read, y, x) or 4 (ramp, read, y, x)."""
    shape = tuple(hdu.shape)
    if len(shape) == 2:
        return [_single(path, extension, shape, fields)]
    if len(shape) not in (3, 4):
        raise ReadsError(
            f"{path}: {hdu.name} has shape {shape}; (y, x), (read, y, x) or (ramp, read, y, x) was expected"
        )
    plane_shape = (shape[-2], shape[-1])
    reads, ramps = shape[-3], shape[0] if len(shape) == 4 else None
    spacing_ns = _spacing_ns(fields)
    first_ns = fields.instant("time")
    first_ns = _needed(fields, "start", fields.instant) if first_ns is None else first_ns
    ramp_0 = 0 if ramps is not None else _needed(fields, "ramp", fields.index)
    common = _common(fields, _stem(path)) | {"reads_planned": reads, "frame_time_ns": _frame_time_ns(fields)}
    if ramps is not None:
        common["ramps_planned"] = ramps
    planes = []
    for ramp in range(ramps or 1):
        for read in range(reads):
            # A reset takes about the time of one read, so a ramp takes one spacing more than its reads.
            time_ns = first_ns + (ramp * (reads + 1) + read) * spacing_ns
            header = _header(fields, common | {"ramp": ramp_0 + ramp, "read": read, "time_ns": time_ns})
            index = (read,) if ramps is None else (ramp, read)
            planes.append(_Plane(path, extension, index, None, plane_shape, None, header))
    return planes


def _single(path: Path, extension: int, shape: tuple[int, ...], fields: Fields) -> _Plane:
    """Return the one read of a file."""
    read = _needed(fields, "read", fields.index)
    ramp = _needed(fields, "ramp", fields.index)
    reads_planned = fields.count("reads_planned") or 0
    elapsed_s = fields.number("elapsed_s")
    stamp_ns, start_ns = fields.instant("time"), fields.instant("start")
    if stamp_ns is not None:
        time_ns = stamp_ns
    elif start_ns is None:
        raise fields.missing("time")
    elif elapsed_s is not None:
        time_ns = start_ns + round(elapsed_s * NS)
    else:
        time_ns = start_ns + (ramp * (reads_planned + 1) + read) * _spacing_ns(fields)
    numbers = {"ramp": ramp, "read": read, "reads_planned": reads_planned, "frame_time_ns": _frame_time_ns(fields)}
    header = _header(fields, _common(fields, None) | numbers | {"time_ns": time_ns})
    elapsed_ns = None if elapsed_s is None or stamp_ns is None else round(elapsed_s * NS)
    return _Plane(path, extension, (), None, (shape[0], shape[1]), elapsed_ns, header)


def _ima(path: Path, images: dict[int, tuple[Any, Fields]]) -> list[_Plane]:
    """Return the reads of an HST multi-accum file, in which EXTVER 1 is the last read.

    A rate is turned back into what had accumulated: times the seconds since the zeroth read, which counts 0.
    """
    # Samples may lie several frame times apart: the shortest step is nearest to the frame time. The zeroth has none.
    steps = [_frame_time_ns(fields) for _, fields in images.values() if fields.number("frame_time_s") != 0.0]
    planes = []
    for extension, (hdu, fields) in images.items():
        if len(hdu.shape) != 2:
            raise ReadsError(f"{path}: {hdu.name},{hdu.ver} has shape {tuple(hdu.shape)}; (y, x) was expected")
        elapsed_s = _needed(fields, "elapsed_s", fields.number)
        unit = str(hdu.header.get("BUNIT", "")).strip().upper()
        values = _common(fields, _stem(path)) | {
            "ramp": _needed(fields, "ramp", fields.index),
            "read": _needed(fields, "read", fields.index),
            "reads_planned": fields.count("reads_planned") or len(images),
            "frame_time_ns": min(steps, default=0),
            "time_ns": _needed(fields, "start", fields.instant) + round(elapsed_s * NS),
        }
        if unit.startswith("ELECTRON"):
            values["gain_e_per_dn"] = 1.0
        factor = elapsed_s if unit.endswith("/S") else None
        shape = (hdu.shape[0], hdu.shape[1])
        planes.append(_Plane(path, extension, (), factor, shape, None, _header(fields, values)))
    return planes


def _common(fields: Fields, fallback_id: str | None) -> dict[str, Any]:
    """Return what all reads of a file share."""
    complete = fields.flag("complete")
    return {
        "instrument": _needed(fields, "instrument", fields.text),
        "detector": _needed(fields, "detector", fields.text),
        "exposure_id": fields.exposure_id(fallback_id),
        "ramps_planned": fields.count("ramps_planned") or 0,
        "reset_ns": fields.instant("reset"),
        "complete": True if complete is None else complete,
        "gain_e_per_dn": fields.number("gain_e_per_dn"),
        "read_noise_e": fields.number("read_noise_e"),
        "saturation_dn": fields.number("saturation_dn"),
        "setup": fields.setup(),
    }


def _needed(fields: Fields, name: str, get: Callable[[str], T | None]) -> T:
    value = get(name)
    if value is None:
        raise fields.missing(name)
    return value


def _frame_time_ns(fields: Fields) -> int:
    return round(_needed(fields, "frame_time_s", fields.number) * NS)


def _spacing_ns(fields: Fields) -> int:
    spacing_s = fields.number("spacing_s")
    return _frame_time_ns(fields) if spacing_s is None else round(spacing_s * NS)


def _header(fields: Fields, values: dict[str, Any]) -> ReadHeader:
    """Check the values by the rules of the wire."""
    try:
        return msgspec.convert(values | {"kind": "read", "sequence": 0}, ReadHeader)
    except msgspec.ValidationError as error:
        raise ReadsError(
            f"{fields.path}: its header makes no read: {error}; see [fits_keys.{fields.family}]"
        ) from error


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".fz", ".gz", ".fits"):
        name = name.removesuffix(suffix)
    return name


def _in_order(planes: list[_Plane]) -> list[_Plane]:
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


def _check_neighbours(one: _Plane, other: _Plane) -> None:
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


def _anchored(ramp: list[_Plane]) -> list[_Plane]:
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


def _with_header(plane: _Plane, **changes: Any) -> _Plane:
    header = msgspec.structs.replace(plane.header, **changes)
    return _Plane(plane.path, plane.extension, plane.index, plane.factor, plane.shape, plane.elapsed_ns, header)


def _number(plane: _Plane) -> str:
    return f"ramp {plane.header.ramp} read {plane.header.read}"
