"""How much of one spectrum's light is taken for another's where both lie on the same pixels."""

from rtcal.kernels._jit import kernel


@kernel
def leak(column, first, share, taker, giver, start, stop, part):
    """Work out which part of a spectrum, weighted by its profile, is an equally bright neighbour's light.

    Parameters
    ----------
    column, first, share
        As in `extract.extract`.
    taker, giver
        Int64, (pair,): the spectrum that is extracted, and the one whose light is in it.
    start, stop
        Range of pairs, `stop` not included.
    part
        Float64, (pair,), overwritten: sum(P_taker P_giver) / sum(P_taker^2), the mean over the taker's columns; 0 for
        one without any.
    """
    reach = share.shape[2]
    for pair in range(start, stop):
        i, j = taker[pair], giver[pair]
        total, seen = 0.0, 0
        for t in range(first.shape[1]):
            if first[i, t] < 0:
                continue
            seen += 1
            u = t + column[i] - column[j]
            if u < 0 or u >= first.shape[1] or first[j, u] < 0:
                continue
            own, common, shift = 0.0, 0.0, first[i, t] - first[j, u]
            for k in range(reach):
                own += share[i, t, k] * share[i, t, k]
                if 0 <= k + shift < reach:
                    common += share[i, t, k] * share[j, u, k + shift]
            if own > 0.0:
                total += common / own
        part[pair] = total / seen if seen > 0 else 0.0
