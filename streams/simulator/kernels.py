"""The loops that make a read: arithmetic on one detector, in place.

Images are (y, x) and C-contiguous, scalars float32. Noise comes from a tile of unit normal deviates,
drawn once, which every row enters at an offset of its own: drawing the numbers anew costs a whole
core at the instrument's full rate. A row is done by two loops of one output and few inputs each,
because with more the compiler gives up proving that they do not overlap, and does not vectorise.
"""

import math

import numpy as np
from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")

WING_WIDTH, WING_SHIFT = 2.5, 0.3
"""Of the wings of a lenslet's light, in sigmas of its core."""


@kernel
def _integrate_row(charge_e, rate_e_per_s, normal, seconds, full_well_e):
    for x in range(charge_e.size):
        mean_e = rate_e_per_s[x] * seconds
        charge_e[x] = min(charge_e[x] + mean_e + np.sqrt(mean_e) * normal[x], full_well_e)


@kernel
def _digitise_row(raw_dn, charge_e, level_dn, normal, row_dn, dn_per_e, bend_per_e, noise_dn):
    lowest, highest, half = np.float32(0), np.float32(65535), np.float32(0.5)
    for x in range(raw_dn.size):
        signal_e = charge_e[x] - bend_per_e * charge_e[x] * charge_e[x]
        value_dn = signal_e * dn_per_e + level_dn[x] + row_dn + noise_dn * normal[x] + half
        raw_dn[x] = np.uint16(np.int32(min(max(value_dn, lowest), highest)))


@kernel
def reset(charge_e, tile, offsets, noise_e):
    """Empty every pixel, up to the noise of the reset switch.

    Parameters
    ----------
    charge_e
        Charge on each pixel [e-], float32, (y, x), overwritten.
    tile
        Unit normal deviates, float32, 1-D, longer than the greatest offset by a row.
    offsets
        Where each row enters the tile, int64, (y,).
    noise_e
        Standard deviation of the charge that a reset leaves [e-].
    """
    width = charge_e.shape[1]
    for y in range(charge_e.shape[0]):
        normal = tile[offsets[y] : offsets[y] + width]
        row = charge_e[y]
        for x in range(width):
            row[x] = noise_e * normal[x]


@kernel
def integrate(charge_e, rate_e_per_s, tile, offsets, seconds, full_well_e):
    """Let charge gather for some time, with photon noise, up to the full well.

    Parameters
    ----------
    charge_e
        Charge on each pixel [e-], float32, (y, x), changed in place.
    rate_e_per_s
        Mean rate, light and dark together [e-/s], float32, (y, x), not negative.
    tile, offsets
        As in `reset`.
    seconds
        For how long [s].
    full_well_e
        Charge above which a pixel takes no more [e-].

    Notes
    -----
    The noise of an increment is normal with the variance of Poisson's law, which is the mean; at the
    sky's rates the difference is small, and at a dark's only the sums over many reads matter.
    """
    width = charge_e.shape[1]
    for y in range(charge_e.shape[0]):
        normal = tile[offsets[y] : offsets[y] + width]
        _integrate_row(charge_e[y], rate_e_per_s[y], normal, seconds, full_well_e)


@kernel
def digitise(raw_dn, charge_e, bias_dn, column_dn, row_dn, tile, offsets, dn_per_e, bend_per_e, noise_dn):
    """Read the charge out: bend, offsets, read noise and a converter of 16 bits.

    Parameters
    ----------
    raw_dn
        The read [DN], uint16, (y, x), overwritten; values are rounded and end at 0 and 65535.
    charge_e
        Charge on each pixel [e-], float32, (y, x), left as it is.
    bias_dn
        Level of each pixel without charge [DN], float32, (y, x).
    column_dn, row_dn
        Offsets of this read by column and by row [DN], float32, (x,) and (y,).
    tile, offsets
        As in `reset`.
    dn_per_e
        Inverse of the gain [DN/e-].
    bend_per_e
        Coefficient a of the measured signal q - a q^2 [1/e-].
    noise_dn
        Standard deviation of the read noise [DN].
    """
    width = raw_dn.shape[1]
    level_dn = np.empty(width, np.float32)
    for y in range(raw_dn.shape[0]):
        for x in range(width):
            level_dn[x] = bias_dn[y, x] + column_dn[x]
        normal = tile[offsets[y] : offsets[y] + width]
        _digitise_row(raw_dn[y], charge_e[y], level_dn, normal, row_dn[y], dn_per_e, bend_per_e, noise_dn)


@kernel
def add_stamp(image, stamp, factor, low, left):
    """Add a small image to a large one, the part of it that lies inside.

    Parameters
    ----------
    image
        The large image, float32, (y, x), changed in place.
    stamp
        The small one, float32, (y, x).
    factor
        Number that the stamp is multiplied by.
    low, left
        Row and column of the image under the stamp's first pixel; may lie outside.
    """
    first, last = max(left, 0), min(left + stamp.shape[1], image.shape[1])
    for y in range(max(low, 0), min(low + stamp.shape[0], image.shape[0])):
        target, source = image[y, first:last], stamp[y - low, first - left : last - left]
        for x in range(target.size):
            target[x] += factor * source[x]


@kernel
def draw_lines(spectrum, places, areas, sigma):
    """Add Gaussian lines, integrated over each pixel, to a spectrum.

    Parameters
    ----------
    spectrum
        Float64, (x,).
    places, areas
        Float64, (line,): centres [px] and totals; centres outside bring what reaches inside.
    sigma
        Width [px].
    """
    scale = 1.0 / (math.sqrt(2.0) * sigma)
    reach = 6.0 * sigma
    for k in range(places.size):
        first = max(0, math.ceil(places[k] - reach))
        last = min(spectrum.size - 1, math.floor(places[k] + reach))
        for x in range(first, last + 1):
            high, low = (x + 0.5 - places[k]) * scale, (x - 0.5 - places[k]) * scale
            spectrum[x] += 0.5 * areas[k] * (math.erf(high) - math.erf(low))


@kernel
def _part(y, centre, sigma):
    """Return the part of a Gaussian in a row."""
    scale = 1.0 / (math.sqrt(2.0) * sigma)
    return 0.5 * (math.erf((y + 0.5 - centre) * scale) - math.erf((y - 0.5 - centre) * scale))


@kernel
def draw_trace(light, x0, y0, tilt, sigma, rows, wings, spectrum):
    """Add a spectrum to a detector image along a tilted line.

    Parameters
    ----------
    light
        Float32, (y, x).
    x0, y0, tilt
        First column, centre there, rows a column.
    sigma
        Width of the light across [px]; 0 spreads it evenly over `rows` rows.
    rows
        See sigma.
    wings
        Part of the light in a second Gaussian, WING_WIDTH times as wide and WING_SHIFT sigmas higher up.
    spectrum
        Float64, (t,): light of each column.
    """
    reach = (5.0 if wings == 0.0 else 8.0) * sigma if sigma > 0.0 else 0.5 * rows
    for t in range(spectrum.size):
        centre = y0 + tilt * t
        first = max(0, math.floor(centre - reach + 0.5))
        last = min(light.shape[0] - 1, math.floor(centre + reach + 0.5))
        for y in range(first, last + 1):
            if sigma > 0.0:
                share = (1.0 - wings) * _part(y, centre, sigma)
                if wings > 0.0:
                    share += wings * _part(y, centre + WING_SHIFT * sigma, WING_WIDTH * sigma)
            else:
                share = max(0.0, min(y + 0.5, centre + reach) - max(y - 0.5, centre - reach)) / rows
            light[y, x0 + t] += np.float32(share * spectrum[t])
