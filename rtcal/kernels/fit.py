"""The slope of a ramp from its sums, added to the sums of the exposure.

Ramps combine by the inverse of their read variance, which does not depend on the measured rate and so does
not bias it (Fixsen et al. 2000, PASP 112, 1350). In slow blocks `closed` holds the ramp (`segments.close_segments`).
"""

import numpy as np

from rtcal.kernels._jit import kernel

BLOCK = 256


@kernel
def _fit_whole(s_sum, t_sum, mean_s, inverse, weight, spread, w_sum, w_rate, w_photon):
    for i in range(s_sum.size):
        w_sum[i] += weight
        w_rate[i] += weight * ((t_sum[i] - mean_s * s_sum[i]) * inverse)
        w_photon[i] += spread


@kernel
def _add_chosen(whole, value, closed, factor, total):
    """Add the value of a whole ramp, or that of the closed segments times a factor."""
    for i in range(total.size):
        total[i] += value if whole[i] != 0 else closed[i] * factor


@kernel
def _add_chosen_slope(whole, s_sum, t_sum, mean_s, inverse, weight, closed, gain, w_rate):
    for i in range(w_rate.size):
        slope = (t_sum[i] - mean_s * s_sum[i]) * inverse
        w_rate[i] += weight * slope if whole[i] != 0 else closed[i] * gain


@kernel
def _add_chosen_difference(whole, head, tail, factors, weight, closed, gain, w_rate):
    for i in range(w_rate.size):
        rate = head[i] * factors[0] + tail[i] * factors[1]
        w_rate[i] += weight * rate if whole[i] != 0 else closed[i] * gain


@kernel
def _find_whole(first_bad, start, n_used, whole):
    """Mark the pixels of a slow block that nothing has happened to."""
    for i in range(first_bad.size):
        whole[i] = (first_bad[i] >= n_used) & (start[i] == 0)


@kernel
def fit(
    moments, first_bad, start, closed, slow, n_used, mean_s, inverse, weight, spread, gain, w_sum, w_rate, w_photon
):
    """Add the least-squares slope of every pixel.

    Parameters
    ----------
    moments
        Float32, (y, 2, x): sums of signal [DN] and of time times signal [DN s].
    first_bad, start, closed, slow
        As `segments.close_segments` leaves them; below two reads a pixel has weight 0 and adds nothing.
    n_used
        Number of reads used.
    mean_s, inverse, weight, spread
        For a whole ramp, float32: mean time [s]; gain over the sum of squares about it [e-/DN/s2]; that sum [s2];
        photon term [s3].
    gain
        [e-/DN], float32.
    w_sum, w_rate, w_photon
        Sums over ramps of weight, weight times rate, photon term; float32, (y, x), in place.

    Notes
    -----
    Equal weights of the reads within a segment; segments by the inverse of their read variance.
    """
    one, chosen = np.float32(1.0), np.empty(BLOCK, np.uint8)
    for y in range(w_sum.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, w_sum.shape[1])
            into_sum, into_rate, into_photon = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            s_sum, t_sum = moments[y, 0, a:b], moments[y, 1, a:b]
            if slow[y, block] == 0:
                _fit_whole(s_sum, t_sum, mean_s, inverse, weight, spread, into_sum, into_rate, into_photon)
                continue
            _find_whole(first_bad[y, a:b], start[y, a:b], n_used, chosen)
            _add_chosen(chosen, weight, closed[y, 1, a:b], one, into_sum)
            _add_chosen_slope(chosen, s_sum, t_sum, mean_s, inverse, weight, closed[y, 0, a:b], gain, into_rate)
            _add_chosen(chosen, spread, closed[y, 2, a:b], one, into_photon)


@kernel
def _fit_ends_whole(head, tail, factors, weight, spread, w_sum, w_rate, w_photon):
    for i in range(head.size):
        w_sum[i] += weight
        w_rate[i] += weight * (head[i] * factors[0] + tail[i] * factors[1])
        w_photon[i] += spread


@kernel
def fit_ends(
    head, tail, closed, slow, first_bad, start, n_used, factors, weight, spread, gain, w_sum, w_rate, w_photon
):
    """Add the rate from the difference of the two ends of the ramp (CDS, MCDS).

    A pixel that saturated or jumped has no two ends of one segment: it gets its slope.

    Parameters
    ----------
    head, tail
        Sums of signal over the reads of the near and far end [DN], float32, (y, x).
    first_bad, start, n_used
        As in `segments.advance`; number of reads used.
    factors
        Of `head` and of `tail` in the rate [e-/DN/s], two float32.
    weight, spread
        Of the ends, float32: the square of the read noise over the read variance [s2], and its square times the
        photon variance for 1 e-/s [s3].
    closed, slow, gain, w_sum, w_rate, w_photon
        As in `fit`.
    """
    one, chosen = np.float32(1.0), np.empty(BLOCK, np.uint8)
    for y in range(w_sum.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, w_sum.shape[1])
            into_sum, into_rate, into_photon = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            near, far = head[y, a:b], tail[y, a:b]
            if slow[y, block] == 0:
                _fit_ends_whole(near, far, factors, weight, spread, into_sum, into_rate, into_photon)
                continue
            _find_whole(first_bad[y, a:b], start[y, a:b], n_used, chosen)
            _add_chosen(chosen, weight, closed[y, 1, a:b], one, into_sum)
            _add_chosen_difference(chosen, near, far, factors, weight, closed[y, 0, a:b], gain, into_rate)
            _add_chosen(chosen, spread, closed[y, 2, a:b], one, into_photon)
