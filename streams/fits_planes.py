"""Where in a FITS file the reads are, and what its headers say about each: headers only, no pixels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from astropy.io import fits

from streams.clock import NS
from streams.errors import ReadsError
from streams.fits_fields import Fields
from streams.fits_keys import Constants, FitsKeys, recognise
from streams.fits_windows import source_name, windows_of
from streams.messages import MAX_SIDE, ReadHeader, Scalar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plane:
    """A read that is still in its file."""

    path: Path
    extension: int
    index: tuple[int, ...]
    factor: float | None
    shape: tuple[int, int]
    elapsed_ns: int | None
    """From reset to the first pixel, where the file says so beside the read's own time."""
    header: ReadHeader


def planes_of(
    path: Path, hdus: fits.HDUList, families: Mapping[str, FitsKeys], family: str | None, given: Constants
) -> list[Plane]:
    """Return the reads that a file holds, in no order.

    Parameters
    ----------
    path, hdus
        The file, open.
    families, family, given
        As for `fits_reads.FitsSource`.

    Raises
    ------
    ReadsError
        If the headers make no reads.
    """
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
    windows = windows_of(path, hdus)
    return [_placed(plane, windows) for plane in planes]


def _placed(plane: Plane, windows: dict[str, Scalar]) -> Plane:
    """Return a read under the name of its window, if it is of one, or with those that its full frame has."""
    setup = {**plane.header.setup, **windows}
    detector = source_name(plane.header.detector, setup)
    return replace(plane, header=msgspec.structs.replace(plane.header, detector=detector, setup=setup))


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


def _image(path: Path, extension: int, hdu: Any, fields: Fields) -> list[Plane]:
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
            planes.append(Plane(path, extension, index, None, plane_shape, None, header))
    return planes


def _single(path: Path, extension: int, shape: tuple[int, ...], fields: Fields) -> Plane:
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
    return Plane(path, extension, (), None, (shape[0], shape[1]), elapsed_ns, header)


def _ima(path: Path, images: dict[int, tuple[Any, Fields]]) -> list[Plane]:
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
        planes.append(Plane(path, extension, (), factor, shape, None, _header(fields, values)))
    wanted = max(plane.header.reads_planned for plane in planes)
    if len(planes) < wanted:
        raise ReadsError(f"{path}: {len(planes)} of {wanted} reads are there: truncated; copy the file again")
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
