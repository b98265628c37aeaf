"""What reducing real exposures makes the compiler do after the warm-up; run as a program, in a fresh process.

In the process of the tests other tests have compiled the kernels already.
"""

import importlib
import json
import pkgutil
import sys

import numpy as np
from msgspec.structs import replace

import rtcal.kernels
from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.reduce import Reducer
from rtcal.warmup import compile_kernels
from streams import settings as settings_file
from streams import wire
from streams.messages import Read
from tests.fakes import (
    FakeClock,
    FixedReferences,
    ListSource,
    badpix_reference,
    bias_reference,
    dark_reference,
    flat_reference,
    linearity_reference,
    ramp_reads,
    saturation_reference,
    sky_reference,
)

SHAPE = (40, 600)
"""Several blocks of columns and, with many bytes in a pixel, several bands of rows."""


def signatures() -> dict[str, list[str]]:
    """Return the compiled signatures of every kernel, by module and name."""
    found = {}
    for module in pkgutil.iter_modules(rtcal.kernels.__path__, "rtcal.kernels."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if hasattr(value, "signatures") and value.__module__ == module.name:
                found[f"{module.name}.{name}"] = sorted(map(str, value.signatures))
    return found


def exposures(dtype: str) -> list[Read]:
    """Reads as they come by the wire: a window and a full frame, with saturated pixels, in two ramps each."""
    random = np.random.default_rng(5)
    data = (2000 + 900 * np.arange(6)[:, None, None] + random.normal(0, 20, (6, *SHAPE))).astype(dtype)
    data[3:, 5, 7] = 65535
    reads = []
    for number, subarray in enumerate(("WINDOW", "FULL")):
        for ramp in range(2):
            setup = {"SUBARRAY": subarray}
            common = {"exposure_id": f"E-{number}", "ramp": ramp, "ramps_planned": 2, "setup": setup}
            reads += ramp_reads(data, first_sequence=len(reads), **common)
    return [wire.decode([bytes(part) for part in wire.encode(read)]) for read in reads]


def references() -> list[FixedReferences]:
    """No references at all, and one of each type."""
    random = np.random.default_rng(6)
    dq = (random.random(SHAPE) < 0.02).astype("u4")
    plane = random.uniform(0.9, 1.1, SHAPE)
    every = {
        "dark": dark_reference(plane, plane / 9, dq.copy()),
        "sky": sky_reference(plane * 50, plane / 9, dq.copy()),
        "flat": flat_reference(plane, plane / 99, dq.copy()),
        "badpix": badpix_reference(dq),
        "bias": bias_reference(plane * 1500),
        "saturation": saturation_reference(plane * 60_000),
        "linearity": linearity_reference(np.stack([0 * plane, plane, plane * 1e-7], axis=1)),
    }
    return [FixedReferences(), FixedReferences(**every)]


def reduce_everything(settings: Settings, bands: Bands) -> int:
    """Reduce every kind of read in every mode with and without references, previews included; count frames."""
    frames = 0
    for dtype in ("<u2", "<f4"):
        for mode in ("utr", "cds", "mcds"):
            for bad_pixels in ("repair", "nan", "keep"):
                for chosen in references():
                    changed = replace(
                        settings,
                        ramp=replace(settings.ramp, mode=mode, reads_per_end=2),
                        calibration=replace(settings.calibration, bad_pixels=bad_pixels),
                        daemon=replace(settings.daemon, preview_pixels=64),
                    )
                    frames += _reduce(changed, chosen, bands, exposures(dtype))
    return frames


def _reduce(settings: Settings, chosen: FixedReferences, bands: Bands, reads: list[Read]) -> int:
    reducer = Reducer(settings, chosen, bands, FakeClock())
    frames = len(list(reducer.frames(ListSource(reads))))
    (pipeline,) = reducer.pipelines.values()
    for read in ramp_reads(np.stack([read.data for read in reads[:3]]), exposure_id="E-previews", first_sequence=24):
        list(pipeline.process(read, preview=True))
    return frames


def main() -> None:
    settings: Settings = settings_file.load(None, Settings)
    with Bands(2) as bands:
        compile_kernels(settings.calibration, bands)
        warm = signatures()
        frames = reduce_everything(settings, bands)
    json.dump({"warm": warm, "after": signatures(), "frames": frames}, sys.stdout)


if __name__ == "__main__":
    main()
