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
def _find_eventful(first_bad, start, n_used, eventful):
    """Mark the pixels of a slow block that have saturated or jumped."""
    for i in range(first_bad.size):
        eventful[i] = (first_bad[i] < n_used) | (start[i] != 0)


@kernel
def _add_plain(eventful, weight, spread, w_sum, w_photon):
    for i in range(w_sum.size):
        plain = eventful[i] == 0
        w_sum[i] += weight if plain else np.float32(0.0)
        w_photon[i] += spread if plain else np.float32(0.0)


@kernel
def _add_plain_slope(eventful, s_sum, t_sum, mean_s, inverse, weight, w_rate):
    for i in range(w_rate.size):
        slope = (t_sum[i] - mean_s * s_sum[i]) * inverse
        w_rate[i] += weight * slope if eventful[i] == 0 else np.float32(0.0)


@kernel
def _add_plain_difference(eventful, head, tail, factors, weight, w_rate):
    for i in range(w_rate.size):
        rate = head[i] * factors[0] + tail[i] * factors[1]
        w_rate[i] += weight * rate if eventful[i] == 0 else np.float32(0.0)


@kernel
def _add_closed(y, a, b, eventful, closed, gain, w_sum, w_rate, w_photon):
    """Add the closed segments of the eventful pixels of a block, looked for eight at a time."""
    words = eventful.view(np.uint64)
    for word in range(-(-(b - a) // 8)):
        if words[word] != 0:
            for x in range(a + 8 * word, min(a + 8 * word + 8, b)):
                if eventful[x - a] != 0:
                    w_sum[y, x] += closed[y, 1, x]
                    w_rate[y, x] += closed[y, 0, x] * gain
                    w_photon[y, x] += closed[y, 2, x]


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
    eventful = np.empty(BLOCK, np.uint8)
    for y in range(w_sum.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, w_sum.shape[1])
            into_sum, into_rate, into_photon = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            s_sum, t_sum = moments[y, 0, a:b], moments[y, 1, a:b]
            if slow[y, block] == 0:
                _fit_whole(s_sum, t_sum, mean_s, inverse, weight, spread, into_sum, into_rate, into_photon)
                continue
            _find_eventful(first_bad[y, a:b], start[y, a:b], n_used, eventful)
            _add_plain(eventful, weight, spread, into_sum, into_photon)
            _add_plain_slope(eventful, s_sum, t_sum, mean_s, inverse, weight, into_rate)
            _add_closed(y, a, b, eventful, closed, gain, w_sum, w_rate, w_photon)


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
    eventful = np.empty(BLOCK, np.uint8)
    for y in range(w_sum.shape[0]):
        for block in range(slow.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, w_sum.shape[1])
            into_sum, into_rate, into_photon = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            near, far = head[y, a:b], tail[y, a:b]
            if slow[y, block] == 0:
                _fit_ends_whole(near, far, factors, weight, spread, into_sum, into_rate, into_photon)
                continue
            _find_eventful(first_bad[y, a:b], start[y, a:b], n_used, eventful)
            _add_plain(eventful, weight, spread, into_sum, into_photon)
            _add_plain_difference(eventful, near, far, factors, weight, into_rate)
            _add_closed(y, a, b, eventful, closed, gain, w_sum, w_rate, w_photon)
