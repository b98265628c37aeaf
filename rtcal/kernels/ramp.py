"""Sums of one ramp, read by read, and the slope that follows from them.

Reads are taken relative to the ramp's first read, so the float32 sums stay exact for a long ramp on a
high pedestal. A row is worked in blocks of `BLOCK` pixels: a block where nothing ever saturated needs
no per-pixel bookkeeping (`gone` is 0 for it, and its part of `first_bad` is not even initialised).
Times are seconds from the middle of the planned ramp; `index` counts the reads used, from 0.
"""

import numpy as np

from rtcal.kernels._jit import kernel

BLOCK = 256
NEVER = np.uint16(65535)


@kernel
def start(read, first, s_sum, t_sum):
    """Take a ramp's first read as the zero level of every pixel.

    Parameters
    ----------
    read
        Raw pixels [DN], uint16 or float32, (y, x).
    first
        The same type; becomes a copy of `read`.
    s_sum, t_sum
        Float32; become 0.
    """
    for y in range(read.shape[0]):
        for x in range(read.shape[1]):
            first[y, x] = read[y, x]
            s_sum[y, x] = 0.0
            t_sum[y, x] = 0.0


@kernel
def _exceeds(read, ceiling_dn):
    top = read[0]
    for i in range(read.size):
        top = max(top, read[i])
    return top > ceiling_dn


@kernel
def _add(read, first, s_sum, t_sum, time_s):
    for i in range(read.size):
        signal = np.float32(read[i]) - np.float32(first[i])
        s_sum[i] += signal
        t_sum[i] += time_s * signal


@kernel
def _add_unsaturated(read, first, s_sum, t_sum, first_bad, time_s, ceiling_dn, index):
    # Written with selects and a bitwise `&`: a branch here keeps LLVM from vectorising (four times slower).
    for i in range(read.size):
        bad = first_bad[i]
        bad = index if (bad == NEVER) & (np.float32(read[i]) > ceiling_dn) else bad
        first_bad[i] = bad
        signal = np.float32(read[i]) - np.float32(first[i])
        signal = signal if bad == NEVER else np.float32(0.0)
        s_sum[i] += signal
        t_sum[i] += time_s * signal


@kernel
def accumulate(read, first, s_sum, t_sum, first_bad, gone, time_s, ceiling_dn, index):
    """Add a read to the sums of every pixel that has not saturated yet.

    Parameters
    ----------
    read, first
        This read and the ramp's first one [DN], uint16 or float32, (y, x).
    s_sum, t_sum
        Sums of signal [DN] and of time times signal [DN s], float32, in place.
    first_bad
        Index of the first read above the ceiling, uint16, `NEVER` if none; valid where `gone`.
    gone
        Uint8, (y, blocks): 1 where the block holds a saturated pixel.
    time_s
        Time of the read [s], float32.
    ceiling_dn
        Highest level that is not saturated [DN], float32.
    index
        Index of the read among those used, uint16.
    """
    for y in range(read.shape[0]):
        for block in range(gone.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, read.shape[1])
            if gone[y, block] == 0:
                if not _exceeds(read[y, a:b], ceiling_dn):
                    _add(read[y, a:b], first[y, a:b], s_sum[y, a:b], t_sum[y, a:b], time_s)
                    continue
                gone[y, block] = 1
                first_bad[y, a:b] = NEVER
            _add_unsaturated(
                read[y, a:b],
                first[y, a:b],
                s_sum[y, a:b],
                t_sum[y, a:b],
                first_bad[y, a:b],
                time_s,
                ceiling_dn,
                index,
            )


@kernel
def add_difference(read, first, end):
    """Add a read's signal to the sum at one end of the ramp (MCDS): `end += read - first`."""
    for y in range(read.shape[0]):
        for x in range(read.shape[1]):
            end[y, x] += np.float32(read[y, x]) - np.float32(first[y, x])


@kernel
def _fit_whole(s_sum, t_sum, mean_s, inverse, weight, photon, w_sum, w_rate, w_photon):
    for i in range(s_sum.size):
        rate = (t_sum[i] - mean_s * s_sum[i]) * inverse
        w_sum[i] += weight
        w_rate[i] += weight * rate
        w_photon[i] += weight * weight * photon


@kernel
def _ends_whole(head, tail, ends, weight, photon, w_sum, w_rate, w_photon):
    for i in range(head.size):
        rate = head[i] * ends[0] + tail[i] * ends[1]
        w_sum[i] += weight
        w_rate[i] += weight * rate
        w_photon[i] += weight * weight * photon


@kernel
def _whole_only(first_bad, weight, photon, w_sum, w_photon):
    """Add the weights of the whole ramp, to the pixels that never saturated."""
    for i in range(first_bad.size):
        whole = first_bad[i] == NEVER
        w_sum[i] += weight if whole else np.float32(0.0)
        w_photon[i] += weight * weight * photon if whole else np.float32(0.0)


@kernel
def _fit_whole_only(s_sum, t_sum, first_bad, mean_s, inverse, weight, w_rate):
    for i in range(s_sum.size):
        rate = (t_sum[i] - mean_s * s_sum[i]) * inverse
        w_rate[i] += weight * rate if first_bad[i] == NEVER else np.float32(0.0)


@kernel
def _ends_whole_only(head, tail, first_bad, ends, weight, w_rate):
    for i in range(head.size):
        rate = head[i] * ends[0] + tail[i] * ends[1]
        w_rate[i] += weight * rate if first_bad[i] == NEVER else np.float32(0.0)


@kernel
def _fit_cut(s_sum, t_sum, first_bad, mean_s, inverse, weight, photon, w_sum, w_rate, w_photon):
    """Fit the pixels that saturated on the reads before; leave the others alone."""
    for i in range(s_sum.size):
        if first_bad[i] != NEVER:
            k = np.int64(first_bad[i])
            rate = (t_sum[i] - mean_s[k] * s_sum[i]) * inverse[k]
            w_sum[i] += weight[k]
            w_rate[i] += weight[k] * rate
            w_photon[i] += weight[k] * weight[k] * photon[k]


@kernel
def fit(s_sum, t_sum, first_bad, gone, mean_s, inverse, weight, photon, n_used, w_sum, w_rate, w_photon):
    """Fit the slope of every pixel by least squares and add it to the sums of the exposure.

    The tables have an entry for each count of valid reads, 0 to `n_used`; below two reads their
    entries are 0, so a pixel without a slope adds nothing.

    Parameters
    ----------
    s_sum, t_sum, first_bad, gone
        As `accumulate` leaves them.
    mean_s, inverse
        Mean time of the first k reads [s]; gain over the sum of squares about it [e-/DN/s2].
    weight, photon
        Inverse read variance times the square of the read noise [s2]; variance of the rate for a flux
        of 1 e-/s [e-/s].
    n_used
        Number of reads used.
    w_sum, w_rate, w_photon
        Sums over ramps of weight, weight times rate, squared weight times `photon`; float32, in place.

    Notes
    -----
    Equal weights of the reads; ramps by the inverse of their read variance, which does not depend on
    the measured rate and so does not bias it (Fixsen et al. 2000, PASP 112, 1350).
    """
    n = n_used
    for y in range(s_sum.shape[0]):
        for block in range(gone.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, s_sum.shape[1])
            s, t, bad = s_sum[y, a:b], t_sum[y, a:b], first_bad[y, a:b]
            ws, wr, wp = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            if gone[y, block] == 0:
                _fit_whole(s, t, mean_s[n], inverse[n], weight[n], photon[n], ws, wr, wp)
                continue
            _fit_whole_only(s, t, bad, mean_s[n], inverse[n], weight[n], wr)
            _whole_only(bad, weight[n], photon[n], ws, wp)
            _fit_cut(s, t, bad, mean_s, inverse, weight, photon, ws, wr, wp)


@kernel
def fit_ends(
    s_sum, t_sum, head, tail, first_bad, gone, mean_s, inverse, ends, weight, photon, n_used, w_sum, w_rate, w_photon
):
    """Like `fit`, but from the difference of the two ends of the ramp (CDS, MCDS).

    A pixel that saturated has no far end: its slope is the least-squares fit of its valid reads.

    Parameters
    ----------
    head, tail
        Sums of signal over the reads of the near and far end [DN], float32.
    ends
        Factors of `head` and of `tail` in the rate [e-/DN/s], two float32.
    weight, photon
        As in `fit`; the entry of `n_used` belongs to the ends.
    """
    n = n_used
    for y in range(s_sum.shape[0]):
        for block in range(gone.shape[1]):
            a, b = block * BLOCK, min((block + 1) * BLOCK, s_sum.shape[1])
            s, t, bad = s_sum[y, a:b], t_sum[y, a:b], first_bad[y, a:b]
            ws, wr, wp = w_sum[y, a:b], w_rate[y, a:b], w_photon[y, a:b]
            if gone[y, block] == 0:
                _ends_whole(head[y, a:b], tail[y, a:b], ends, weight[n], photon[n], ws, wr, wp)
                continue
            _ends_whole_only(head[y, a:b], tail[y, a:b], bad, ends, weight[n], wr)
            _whole_only(bad, weight[n], photon[n], ws, wp)
            _fit_cut(s, t, bad, mean_s, inverse, weight, photon, ws, wr, wp)


@kernel
def note_saturation(first_bad, gone, read_index, saturated_from):
    """Keep, over the ramps of an exposure, the earliest read at which a pixel saturated.

    Parameters
    ----------
    first_bad, gone
        As `accumulate` leaves them.
    read_index
        Index in the ramp of each read used, uint16.
    saturated_from
        Uint16, (y, x), in place; `NEVER` where the pixel has not saturated.
    """
    for y in range(gone.shape[0]):
        for block in range(gone.shape[1]):
            if gone[y, block] == 0:
                continue
            for x in range(block * BLOCK, min((block + 1) * BLOCK, first_bad.shape[1])):
                if first_bad[y, x] != NEVER:
                    saturated_from[y, x] = min(saturated_from[y, x], read_index[first_bad[y, x]])


@kernel
def _add_slopes(s_sum, t_sum, dq, exclude, y, a, b, mean_s, inverse, total, count):
    for x in range(a, b):
        slope = (t_sum[y, x] - mean_s * s_sum[y, x]) * inverse
        good = dq[y, x] & exclude == 0
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _add_slopes_whole_only(s_sum, t_sum, first_bad, dq, exclude, y, a, b, mean_s, inverse, total, count):
    for x in range(a, b):
        slope = (t_sum[y, x] - mean_s * s_sum[y, x]) * inverse
        good = (dq[y, x] & exclude == 0) & (first_bad[y, x] == NEVER)
        total[x] += slope if good else np.float32(0.0)
        count[x] += np.float32(1.0) if good else np.float32(0.0)


@kernel
def _add_slopes_cut(s_sum, t_sum, first_bad, dq, exclude, y, a, b, mean_s, inverse, total, count):
    for x in range(a, b):
        if first_bad[y, x] != NEVER:
            k = np.int64(first_bad[y, x])
            if k >= 2 and dq[y, x] & exclude == 0:
                total[x] += (t_sum[y, x] - mean_s[k] * s_sum[y, x]) * inverse[k]
                count[x] += np.float32(1.0)


@kernel
def _fold(total, binning, folded):
    """Sum neighbours in a row; all bins take their first pixel, then all their second: no sum waits for another."""
    folded[:] = 0.0
    for k in range(binning):
        for column in range(folded.size):
            folded[column] += total[column * binning + k]


@kernel
def preview_rate(s_sum, t_sum, first_bad, gone, mean_s, inverse, n_used, dq, exclude, binning, rate):
    """Average the provisional slope over square bins, good pixels only.

    Parameters
    ----------
    s_sum, t_sum, first_bad, gone, mean_s, inverse, n_used
        As in `fit`; `n_used` is at least 2.
    dq
        Static flags, uint32, (y, x); pixels with a bit of `exclude` take no part.
    binning
        Side of a bin in pixels; rows and columns beyond the last whole bin are left out.
    rate
        Mean rate [e-/s], float32, (y / binning, x / binning), overwritten; NaN for a bin with no good pixel.
    """
    total, count = np.empty(s_sum.shape[1], np.float32), np.empty(s_sum.shape[1], np.float32)
    weight = np.empty(rate.shape[1], np.float32)
    mean, inv = mean_s[n_used], inverse[n_used]
    for row in range(rate.shape[0]):
        total[:] = 0.0
        count[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            for block in range(gone.shape[1]):
                # Unsigned bounds and no slices: counting the references of slices took a third of the time here.
                a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, s_sum.shape[1]))
                if gone[y, block] == 0:
                    _add_slopes(s_sum, t_sum, dq, exclude, y, a, b, mean, inv, total, count)
                    continue
                _add_slopes_whole_only(s_sum, t_sum, first_bad, dq, exclude, y, a, b, mean, inv, total, count)
                _add_slopes_cut(s_sum, t_sum, first_bad, dq, exclude, y, a, b, mean_s, inverse, total, count)
        _fold(total, binning, rate[row])
        _fold(count, binning, weight)
        for column in range(rate.shape[1]):
            some = weight[column] > 0.0
            rate[row, column] = rate[row, column] / weight[column] if some else np.float32(np.nan)


@kernel
def _add_row(row, total):
    for i in range(row.size):
        total[i] += np.float32(row[i])


@kernel
def bin_mean(image, binning, binned):
    """Average an image over square bins: float32, (y / binning, x / binning), overwritten."""
    scale = np.float32(1.0) / np.float32(binning * binning)
    total = np.empty(image.shape[1], np.float32)
    for row in range(binned.shape[0]):
        total[:] = 0.0
        for y in range(row * binning, (row + 1) * binning):
            _add_row(image[y], total)
        _fold(total, binning, binned[row])
        for column in range(binned.shape[1]):
            binned[row, column] *= scale
