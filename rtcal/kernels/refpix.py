"""Reference pixels: what the light-insensitive border says about the read around it.

The border is compared with a zero level (the bias, or the ramp's first read), so only what has changed
since is taken out. Two terms result: one for each output channel and column parity, from the rows at top and
bottom, and one for each row, from the columns at both sides.
"""

import numpy as np

from rtcal.kernels._jit import kernel

BAD_REFERENCE = np.uint8(2)
"""Bit of a reference pixel that takes no part."""
CLIP_SIGMA = 4.0
CLIP_ROUNDS = 3


@kernel
def _clipped_mean(values, count):
    """Return the mean of the first `count` values without those beyond 4 sigma; 0 for none."""
    low, high = -np.inf, np.inf
    mean = 0.0
    for _ in range(CLIP_ROUNDS):
        total, square, kept = 0.0, 0.0, 0
        for i in range(count):
            if low <= values[i] <= high:
                total += values[i]
                square += values[i] * values[i]
                kept += 1
        if kept == 0:
            return mean
        mean = total / kept
        sigma = np.sqrt(max(square / kept - mean * mean, 0.0))
        low, high = mean - CLIP_SIGMA * sigma, mean + CLIP_SIGMA * sigma
    return mean


@kernel
def column_terms(read, zero, bad, border, channels, column_dn):
    """Measure the level of each channel's even and odd columns on the rows of the border.

    Parameters
    ----------
    read
        Raw pixels [DN], uint16 or float32, (y, x); its width is a multiple of twice `channels`.
    zero
        Zero level [DN], uint16 or float32, (y, x).
    bad
        Uint8, (y, x); reference pixels with BAD_REFERENCE take no part.
    border
        Rows of reference pixels at top and at bottom.
    channels
        Output channels, side by side along x.
    column_dn
        Float32, (x,), overwritten: what to subtract from each column [DN]; 0 where no pixel is good.

    Notes
    -----
    The mean of `2 border (width / 2)` pixels without those beyond 4 sigma; its noise is 1/16 of a pixel's for a
    channel of 64 columns (Moseley et al. 2010, SPIE 7742; the order of steps is that of the JWST pipeline).
    """
    ny, nx = read.shape
    width = nx // channels
    values = np.empty(border * 2 * (width // 2 + 1), np.float64)
    for channel in range(channels):
        for parity in range(2):
            count = 0
            for i in range(2 * border):
                y = i if i < border else ny - 2 * border + i
                for x in range(channel * width + parity, (channel + 1) * width, 2):
                    if bad[y, x] & BAD_REFERENCE == 0:
                        values[count] = np.float64(read[y, x]) - np.float64(zero[y, x])
                        count += 1
            mean = _clipped_mean(values, count)
            for x in range(channel * width + parity, (channel + 1) * width, 2):
                column_dn[x] = mean


@kernel
def row_terms(read, zero, bad, border, column_dn, reach, raw_dn, row_dn):
    """Measure what each row still has on the columns of the border, averaged over the rows around it.

    Parameters
    ----------
    read, zero, bad, border
        As in `column_terms`.
    column_dn
        The column terms, taken out first.
    reach
        Rows on each side that a row's mean takes in: 5 for 11 rows.
    raw_dn
        Float32, (2, y), scratch: sum and number of the good side pixels of each row.
    row_dn
        Float32, (y,), overwritten: what to subtract from each row [DN]; 0 where no pixel is good.
    """
    ny, nx = read.shape
    for y in range(ny):
        total, count = 0.0, 0
        for i in range(2 * border):
            x = i if i < border else nx - 2 * border + i
            if bad[y, x] & BAD_REFERENCE == 0:
                total += np.float64(read[y, x]) - np.float64(zero[y, x]) - column_dn[x]
                count += 1
        raw_dn[0, y] = total
        raw_dn[1, y] = count
    for y in range(ny):
        total, count = 0.0, 0.0
        for other in range(max(y - reach, 0), min(y + reach + 1, ny)):
            total += raw_dn[0, other]
            count += raw_dn[1, other]
        row_dn[y] = total / count if count > 0 else 0.0
