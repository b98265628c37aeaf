"""What leaving out reads gains: those of bad seeing, and those in which images shook; measured on simulated ramps.

`python -m tests.seeing docs/images/seeing-burst.png` draws the picture of docs/telemetry.md and prints its numbers.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import curve_fit

from rtcal.bands import Bands
from rtcal.reduce import Reducer
from streams.messages import Frame, Message
from streams.simulator import Simulator
from streams.simulator.faults import Fault
from tests.fakes import FakeClock, FixedReferences, ListSource
from tests.rigs import settings_with
from tests.simulated import simulated

READS = 30
SEEING, SHAKE = Fault("seeing", 7.0, 15.0, value=0.05), Fault("shake", 7.0, 15.0, value=8.0)
POOR_SEEING, LOOP_OPEN = "LGSR0 < 0.08", "AOLOOPLO != LOCK"
STAMP = 6
APERTURE_PX = 3.0
PIXEL_MAS = 4.0


@dataclass(frozen=True)
class Quality:
    """Medians over the stars of a frame."""

    fwhm_mas: float
    signal_to_noise: float
    peak_e_per_s: float
    reads: int


def make_ramp(*faults: Fault) -> tuple[list[Message], np.ndarray]:
    """Return the messages of a ramp in the order in which they come, and the places (x, y) of isolated stars."""
    settings = simulated(
        size=512,
        reads_per_ramp=READS,
        stars_per_mpx=250.0,
        brightest_e_per_s=2000.0,
        faintest_e_per_s=300.0,
        cosmic_rays_per_s_per_cm2=0.0,
        hot_fraction=0.0,
        dead_fraction=0.0,
        faults=list(faults),
    )
    simulator = Simulator(settings, FakeClock())
    stars = simulator.scene.stars["IMG1"]
    return [message for _, message in simulator.messages()], isolated(
        np.column_stack([stars.x_px, stars.y_px]), settings.size
    )


def isolated(places: np.ndarray, size: int) -> np.ndarray:
    """Return the places that no other star and no edge is near to."""
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    inside = ((places > 2 * STAMP) & (places < size - 2 * STAMP)).all(axis=1)
    return np.asarray(places[inside & (apart.min(axis=1) > 3 * STAMP)])


def reduced(messages: list[Message], *exclude: str) -> Frame:
    """Reduce a ramp as `rtcal reduce` does."""
    with Bands(2) as bands:
        reducer = Reducer(settings_with(), FixedReferences(), bands, FakeClock(), exclude)
        (frame,) = reducer.frames(ListSource(messages))
    return frame


def quality(frame: Frame, places: np.ndarray) -> Quality:
    """Measure the stars of a frame."""
    measured = [one for x, y in places if (one := _star(frame, round(x), round(y))) is not None]
    fwhm, ratio, peak = np.median(np.array(measured), axis=0)
    return Quality(float(fwhm) * PIXEL_MAS, float(ratio), float(peak), frame.header.reads_used)


def _star(frame: Frame, x: int, y: int) -> tuple[float, float, float] | None:
    """Return width [px], signal to noise in an aperture about the star, and its peak [e-/s]."""
    rows, columns = slice(y - STAMP, y + STAMP + 1), slice(x - STAMP, x + STAMP + 1)
    image, error = frame.data[rows, columns].astype(float), frame.err[rows, columns].astype(float)
    if not np.isfinite(image).all():
        return None
    v, u = np.mgrid[-STAMP : STAMP + 1, -STAMP : STAMP + 1].astype(float)
    level = np.median(image[np.hypot(u, v) > STAMP - 1])
    within = np.hypot(u, v) <= APERTURE_PX

    def model(at: np.ndarray, height: float, dx: float, dy: float, sigma: float) -> np.ndarray:
        return np.asarray(height * np.exp(-((at[0] - dx) ** 2 + (at[1] - dy) ** 2) / (2 * sigma**2)))

    try:
        (height, _, _, sigma), _ = curve_fit(
            model, np.array([u.ravel(), v.ravel()]), (image - level).ravel(), p0=(image.max() - level, 0, 0, 1.2)
        )
    except RuntimeError:
        return None
    signal = float((image - level)[within].sum())
    return 2.3548 * abs(float(sigma)), signal / float(np.sqrt((error[within] ** 2).sum())), float(height)


def compare() -> tuple[dict[str, Quality], dict[str, Frame], np.ndarray]:
    """Measure the same field where all is well, and with each fault, its reads kept and left out."""
    calm, places = make_ramp()
    poor, shaken = make_ramp(SEEING)[0], make_ramp(SHAKE)[0]
    frames = {
        "all is well": reduced(calm),
        "bad seeing": reduced(poor),
        "bad seeing, left out": reduced(poor, POOR_SEEING),
        "shaking": reduced(shaken),
        "shaking, left out": reduced(shaken, LOOP_OPEN),
    }
    return {name: quality(frame, places) for name, frame in frames.items()}, frames, places


def draw(path: Path) -> None:
    """Draw the brightest star of each frame, and print the numbers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found, frames, places = compare()
    peaks = [frames["all is well"].data[round(y), round(x)] for x, y in places]
    x, y = (round(value) for value in places[int(np.argmax(peaks))])
    figure, axes = pyplot.subplots(1, 6, figsize=(16, 3.4), width_ratios=[1, 1, 1, 1, 1, 1.3], layout="constrained")
    for axis, (name, frame) in zip(axes, frames.items(), strict=False):
        stamp = frame.data[y - 12 : y + 13, x - 12 : x + 13]
        axis.imshow(np.arcsinh((stamp - np.median(stamp)) / 20), origin="lower", cmap="inferno", vmin=-0.5, vmax=4)
        one = found[name]
        axis.set_title(f"{name}\n{one.fwhm_mas:.1f} mas, S/N {one.signal_to_noise:.1f}", fontsize=9)
        axis.set_anchor("S")
        axis.set_xticks([])
        axis.set_yticks([])
        axes[5].plot(np.arange(-12, 13) * PIXEL_MAS, stamp[12] - np.median(stamp), label=name)
    axes[5].set_xlabel("mas")
    axes[5].set_ylabel("e-/s")
    axes[5].legend(fontsize=7)
    figure.savefig(path, dpi=100)
    for name, one in found.items():
        sys.stdout.write(f"{name}: {one}\n")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
