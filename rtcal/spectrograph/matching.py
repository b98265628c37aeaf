"""Which line is which: detected lines matched to a list, from a guess that is off by pixels and per cent.

A wavelength is a Chebyshev series in u, which runs from -1 to 1 over the spectrum's first to last pixel. First
every shift, stretch and bend within the limits of the guess is voted on by all lines; the best of them are
refined by nearest lines, and the one that explains most of the light wins.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rtcal.kernels import lines as kernel
from rtcal.spectrograph.fitting import CENTRE_FLOOR_PX, HIGHEST_ORDER, Lines, fit_clipped
from rtcal.spectrograph.linelists import Floats, LineList

Ints = NDArray[np.int64]

POWER = 0.35
"""Lines count by this power of their strength: lists know strengths to a factor of a few only."""
ACCEPT_PX = 0.5
BLEND_FWHM = 1.3
BLEND_SHARE = 0.08
"""A list line with a neighbour nearer than this, and stronger than this share of it, has no clear centre."""
_TEMPLATE_PX = 2.0
_CHANCE_SIGMA = 3.5
_ENOUGH = 0.9
_EXPLAINED = 0.4
"""Least share of the light in lines that a match must name; a wrong lamp's best is 0.35."""
_FAINTER = 0.05
"""Lists know strengths to a factor of a few; a line this much fainter than the faintest seen is not there."""
_OUTLIER_PX = 0.25


@dataclass(frozen=True, eq=False)
class Detected:
    """Lines found in one spectrum; float64, one element for a line.

    Attributes
    ----------
    x
        Centre, 0-based pixel.
    flux, err_px, sigma_px, snr
        Area; error of the centre; width; height over noise.
    usable
        Bool: neither saturated nor of a wrong width.
    state
        As the kernel says it: 0 fitted, 1 saturated, 2 wrong width, 3 no fit.
    """

    x: Floats
    flux: Floats
    err_px: Floats
    sigma_px: Floats
    snr: Floats
    usable: NDArray[np.bool_]
    state: Ints

    def __len__(self) -> int:
        return self.x.size


@dataclass(frozen=True)
class Limits:
    """How far a guess may be off: shift, relative dispersion, bend at the ends; and how many tries are refined."""

    shift_px: float
    stretch: float
    bend_px: float = 8.0
    tries: int = 8


@dataclass(frozen=True, eq=False)
class Matched:
    """A spectrum whose lines are known.

    Attributes
    ----------
    coefficients
        Chebyshev series of the wavelength [um] in u.
    first_px, last_px
        Where u is -1 and 1.
    lines
        Index of each identified line in the `Detected`.
    wavelength_um
        Their wavelengths.
    used
        Bool: those that the fit kept.
    rms_px
        Of the lines used.
    explained
        Share of the detected lines (weighted) that is identified.
    """

    coefficients: Floats
    first_px: float
    last_px: float
    lines: Ints
    wavelength_um: Floats
    used: NDArray[np.bool_]
    rms_px: float
    explained: float

    @property
    def count(self) -> int:
        """Lines used."""
        return int(self.used.sum())

    def wavelengths(self, x: Floats) -> Floats:
        """Return the wavelength at positions [um]."""
        return np.asarray(chebyshev.chebval(to_u(x, self.first_px, self.last_px), self.coefficients))

    def dispersion(self, x: Floats) -> Floats:
        """Return the wavelength's derivative [um/px]."""
        u = to_u(x, self.first_px, self.last_px)
        slope = chebyshev.chebval(u, _derivation(self.coefficients.size) @ self.coefficients)
        return np.asarray(slope * 2 / (self.last_px - self.first_px))


@cache
def _derivation(size: int) -> Floats:
    """Return the matrix that turns a series of some terms into its derivative's."""
    return np.asarray(chebyshev.chebder(np.eye(size)))


def to_u(x: Floats, first_px: float, last_px: float) -> Floats:
    """Map pixels to -1 ... 1."""
    return np.asarray(2 * (x - first_px) / (last_px - first_px) - 1)


def match(
    found: Detected, listed: LineList, guess: Floats, span: tuple[float, float], limits: Limits, order: int | None
) -> Matched | None:
    """Identify the lines of a spectrum.

    Parameters
    ----------
    found
        Its lines.
    listed
        Lines of the lamps.
    guess
        Chebyshev series of the guessed wavelength [um], at least two terms.
    span
        First and last pixel of the spectrum.
    limits
        How far the guess may be off.
    order
        Of the polynomial; None finds the lowest that the lines ask for.

    Returns
    -------
    Matched or None
        None where nothing matches better than chance would have it.
    """
    usable = np.flatnonzero(found.usable)
    listed = visible(listed, found)
    if usable.size < 2 or len(listed) < 2:
        return None
    weight = found.flux[usable].clip(min=1e-30) ** POWER
    best: Matched | None = None
    for candidate in _vote(to_u(found.x[usable], *span), weight, listed, guess, span, limits):
        refined = _refine(found, listed, candidate, span)
        if refined is not None and (best is None or _merit(refined) > _merit(best)):
            best = refined
        if best is not None and best.explained > _ENOUGH and best.rms_px < 0.1:
            break
    if best is None or best.explained < _EXPLAINED or not better_than_chance(best, found, listed):
        return None
    return polish(found, listed, best, order)


def polish(found: Detected, listed: LineList, start: Matched, order: int | None) -> Matched | None:
    """Identify and fit once more from a good solution, with the order that was asked for or that the lines ask for.

    Returns
    -------
    Matched or None
        None where fewer lines are used than order + 3.
    """
    fitted: Matched | None = start
    degree = start.coefficients.size - 1
    for _ in range(4):
        if fitted is None:
            return None
        degree = order if order is not None else best_order(found, fitted)
        fitted = identify(found, listed, fitted, ACCEPT_PX, degree)
    return fitted if fitted is not None and fitted.count >= degree + 3 else None


def best_order(found: Detected, matched: Matched) -> int:
    """Return the order whose last term still pays for itself (Bayesian information criterion).

    All identified lines count, a residual beyond the limit as the limit: an outlier does not ask for a term.
    """
    x = found.x[matched.lines]
    u = to_u(x, matched.first_px, matched.last_px)
    um_per_px = np.abs(matched.dispersion(x))
    weight = matched.used * weights_of(found, matched.lines)
    lowest, highest = orders_to_try(np.array([matched.count]))
    criteria = []
    for degree in range(int(lowest[0]), int(highest[0]) + 1):
        series = chebyshev.chebfit(u, matched.wavelength_um, degree, w=weight)
        away = np.abs(chebyshev.chebval(u, series) - matched.wavelength_um) / um_per_px
        criteria.append(order_by_residuals(away[None], np.array([x.size]), degree)[0])
    return int(lowest[0]) + int(np.argmin(criteria))


def orders_to_try(count: Ints) -> tuple[Ints, Ints]:
    """Return the lowest and the highest order that numbers of used lines can tell of."""
    highest = np.maximum(np.minimum(3, count - 3), np.minimum(HIGHEST_ORDER, count // 2 - 1))
    return np.minimum(2, highest), highest


def order_by_residuals(away_px: Floats, count: Ints, order: int) -> Floats:
    """Return the criterion of an order: of fits that miss their lines by so much, (trace, line), 0 beyond `count`."""
    residual = np.minimum(away_px, _OUTLIER_PX)
    variance = (residual**2).sum(axis=1) / count + CENTRE_FLOOR_PX**2
    return np.asarray(count * np.log(variance) + (order + 1) * np.log(count))


def identify(
    found: Detected, listed: LineList, start: Matched, tolerance_px: float, order: int, *, hold: bool = False
) -> Matched | None:
    """Give each detected line the nearest strong line of the list within a tolerance, then fit.

    Every line of the list goes to one detected line at most. Lines of the list that are blends at the width seen
    are identified but not used. With `hold` the start's terms above `order` are kept, else they are dropped.
    """
    middle = np.array([(start.first_px + start.last_px) / 2])
    um_per_px = float(abs(start.dispersion(middle)[0]))
    predicted = start.wavelengths(found.x)
    pairs = _pair(predicted, found, listed, tolerance_px * um_per_px)
    if pairs[0].size < max(2, order + 1):
        return None
    lines, which = pairs
    sigma = float(np.median(found.sigma_px[lines]))
    clear = ~blended(listed, BLEND_FWHM * 2.355 * sigma * um_per_px)[which]
    wavelengths = listed.wavelength_um[which]
    order = min(order, int(clear.sum()) - 1)
    if order < 1:
        return None
    held = start.coefficients.copy() if hold else np.zeros(order + 1)
    held[: order + 1] = 0.0
    fitted = _fit(found, lines, wavelengths, clear, start, order, held, um_per_px)
    weights = found.flux.clip(min=1e-30) ** POWER * found.usable
    return replace(fitted, explained=float(weights[lines].sum() / weights.sum()))


def blended(listed: LineList, distance_um: float) -> NDArray[np.bool_]:
    """Tell which lines of a list have a neighbour too near and too strong for their centre to be their own."""
    return nearest_strong(listed, distance_um) < distance_um


def nearest_strong(listed: LineList, reach_um: float) -> Floats:
    """Return how far from each line of a list the next one is that may be its blend; infinity beyond a reach."""
    wavelengths, strength = listed.wavelength_um, listed.intensity
    out = np.full(wavelengths.size, np.inf)
    for step in range(1, wavelengths.size):
        gap = wavelengths[step:] - wavelengths[:-step]
        near = gap < reach_um
        if not near.any():
            break
        for own, other in ((slice(None, -step), slice(step, None)), (slice(step, None), slice(None, -step))):
            strong = near & (strength[other] > BLEND_SHARE * strength[own])
            out[own] = np.where(strong, np.minimum(out[own], gap), out[own])
    return out


def better_than_chance(matched: Matched, found: Detected, listed: LineList) -> bool:
    """Tell whether more lines match, as closely as they do, than as many random ones would have."""
    low, high = sorted(matched.wavelengths(np.array([matched.first_px, matched.last_px])))
    um_per_px = (high - low) / (matched.last_px - matched.first_px)
    inside = listed.between(low, high).wavelength_um
    if inside.size == 0:
        return False
    tolerance_um = um_per_px * min(ACCEPT_PX, max(0.15, 2.5 * matched.rms_px))
    away_um = np.abs(matched.wavelengths(found.x[matched.lines]) - matched.wavelength_um)
    gaps = np.diff(inside, prepend=low, append=high)
    covered = np.minimum(gaps, 2 * tolerance_um).sum() / (high - low)
    expected = float(covered) * int(found.usable.sum())
    free = matched.coefficients.size
    return bool((away_um < tolerance_um).sum() >= free + max(1.0, expected + _CHANCE_SIGMA * np.sqrt(expected)))


def visible(listed: LineList, found: Detected) -> LineList:
    """Leave out lines of the list that are far too faint to be seen where the faintest line seen is as it is."""
    flux = found.flux[found.usable]
    if flux.size == 0 or len(listed) == 0:
        return listed
    # A saturated line cannot be used, but it tells how bright the lamp is.
    brightest = found.flux[found.usable | (found.state == int(kernel.SATURATED))].max()
    kept = listed.intensity >= _FAINTER * flux.min() / brightest * listed.intensity.max()
    elements = tuple(name for name, keep in zip(listed.element, kept, strict=True) if keep)
    return LineList(listed.wavelength_um[kept], listed.intensity[kept], elements)


def _merit(matched: Matched) -> float:
    return matched.explained - 0.1 * matched.rms_px


def _vote(
    u: Floats, weight: Floats, listed: LineList, guess: Floats, span: tuple[float, float], limits: Limits
) -> list[Floats]:
    """Return the series that score best, the best first."""
    pixel = 2.0 / (span[1] - span[0])
    half_um = float(guess[1])
    reach = (limits.shift_px + limits.bend_px / 2) * pixel
    shifts = np.arange(-np.ceil(reach / pixel), np.ceil(reach / pixel) + 1) * pixel
    stretch = limits.stretch * 1.1 + pixel
    stretches = np.linspace(-stretch, stretch, 2 * int(np.ceil(stretch / pixel / 1.5)) + 1)
    bend = limits.bend_px * pixel * 1.5
    bends = np.linspace(-bend, bend, 2 * int(np.ceil(bend / (2 * pixel))) + 1)
    # The guess's own higher terms shift the lines before the vote.
    u = u + chebyshev.chebval(u, np.concatenate([[0.0, 0.0], guess[2:]])) / half_um
    places = (listed.wavelength_um - guess[0]) / half_um
    origin, step = -1.5, pixel / 2
    template = _template(places, listed.intensity**POWER, origin, step, _TEMPLATE_PX * pixel)
    score = np.empty((bends.size, stretches.size, shifts.size))
    kernel.vote(u, weight, shifts, stretches, bends, origin, step, template, score)
    out = []
    for _ in range(limits.tries):
        b, s, k = np.unravel_index(int(score.argmax()), score.shape)
        if score[b, s, k] <= 0:
            break
        place = np.zeros(max(3, guess.size))
        place[: guess.size] = guess
        place[0] += half_um * (shifts[k] + bends[b] / 6)  # u^2 - 1/3 is T2 / 2 + 1 / 6
        place[1] += half_um * stretches[s]
        place[2] += half_um * bends[b] / 2
        out.append(place)
        score[:, max(0, s - 3) : s + 4, max(0, k - 3) : k + 4] = 0.0
    return out


def _template(places: Floats, strength: Floats, origin: float, step: float, width: float) -> Floats:
    """Draw a triangle of half-width `width` at each line; the higher wins where they overlap."""
    template = np.zeros(int(-2 * origin / step) + 1)
    grid = origin + step * np.arange(template.size)
    for place, height in zip(places, strength, strict=True):
        first, last = np.searchsorted(grid, (place - width, place + width))
        part = slice(first, last)
        template[part] = np.maximum(template[part], height * (1 - np.abs(grid[part] - place) / width))
    return template


def _refine(found: Detected, listed: LineList, start: Floats, span: tuple[float, float]) -> Matched | None:
    """Identify with ever smaller tolerance; the candidate's terms above the order that is fitted stay as they are."""
    nothing = np.empty(0, np.int64)
    solution: Matched | None = Matched(start, *span, nothing, np.empty(0), np.empty(0, bool), np.inf, 0.0)
    for tolerance_px, order in ((3.5, 1), (2.5, 2), (1.5, 2), (1.0, 3), (ACCEPT_PX, 3)):
        if solution is None:
            return None
        count = max(solution.lines.size, 3)
        solution = identify(found, listed, solution, tolerance_px, min(order, max(1, count - 2)), hold=True)
    return solution


def _pair(predicted: Floats, found: Detected, listed: LineList, tolerance_um: float) -> tuple[Ints, Ints]:
    """Pair detected lines with lines of the list: near and strong before far and faint, each once."""
    wavelengths = listed.wavelength_um
    first = np.searchsorted(wavelengths, predicted - tolerance_um)
    last = np.searchsorted(wavelengths, predicted + tolerance_um)
    pairs = [
        ((1 - abs(wavelengths[j] - predicted[i]) / tolerance_um) * listed.intensity[j] ** POWER, i, j)
        for i in np.flatnonzero(found.usable & (last > first))
        for j in range(first[i], last[i])
    ]
    taken_i: dict[int, int] = {}
    taken_j: set[int] = set()
    for _, i, j in sorted(pairs, reverse=True):
        if i not in taken_i and j not in taken_j:
            taken_i[int(i)] = int(j)
            taken_j.add(int(j))
    lines = np.array(sorted(taken_i), np.int64)
    return lines, np.array([taken_i[int(i)] for i in lines], np.int64)


def _fit(
    found: Detected,
    lines: Ints,
    wavelengths: Floats,
    clear: NDArray[np.bool_],
    start: Matched,
    order: int,
    held: Floats,
    um_per_px: float,
) -> Matched:
    """Fit the terms up to an order, on top of those held."""
    u = to_u(found.x[lines], start.first_px, start.last_px)
    rest = wavelengths - chebyshev.chebval(u, held)
    nothing = np.zeros(clear.size, bool)
    ready = Lines(
        u[None], rest[None], weights_of(found, lines)[None], clear[None], nothing[None], np.array([um_per_px])
    )
    own, used, residual = fit_clipped(ready, order)
    coefficients = held.copy() if held.size > order + 1 else np.zeros(order + 1)
    coefficients[: order + 1] += own[0]
    rms = float(np.sqrt(np.mean(residual[0][used[0]] ** 2)))
    return Matched(coefficients, start.first_px, start.last_px, lines, wavelengths, used[0], rms, 0.0)


def weights_of(found: Detected, lines: Ints) -> Floats:
    """Return the inverse error of some lines' centres [1/px]."""
    return np.asarray(1 / np.hypot(np.nan_to_num(found.err_px[lines], nan=1.0), CENTRE_FLOOR_PX))


def linear_guess(low_um: float, high_um: float) -> Floats:
    """Return the series of a wavelength that runs evenly from the first to the last pixel."""
    return np.array([(low_um + high_um) / 2, (high_um - low_um) / 2])
