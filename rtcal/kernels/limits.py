"""Levels at which a pixel's value is not its own: saturation, which spills over, and the converter's floor."""

import numpy as np

from rtcal.kernels._jit import kernel
from rtcal.kernels.planes import BLOCK, FLOOR, NEVER, SPILLED, row_of, wake

OVER, UNDER = np.uint8(1), np.uint8(2)
"""A row holds a pixel above its ceiling; one at the floor."""


@kernel
def look_row(y, raw, levels, over, hot):
    """Find the pixels of a row above their ceiling; return OVER and UNDER for what it holds.

    Parameters
    ----------
    y
        The row; one beyond the image has none.
    raw
        Raw pixels [DN], (y, x).
    levels
        See `planes.Levels`.
    over
        Uint8, (x + 2,), in place: 1 where a pixel is above; the pixel x lies at x + 1, the two ends stay 0.
    hot
        Uint8, (block + 2,), in place: 1 where a block has such a pixel; the block b lies at b + 1.
    """
    ceiling, least, found = levels.ceiling_dn, levels.least_dn, np.uint8(0)
    inside = 0 <= y < raw.shape[0]
    for block in range(hot.size - 2):
        a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, raw.shape[1]))
        is_hot = False
        if inside:
            top, bottom = _extremes(y, a, b, raw)
            is_hot = top > least[row_of(least, y), block]
            found |= UNDER if np.float32(bottom) <= levels.floor_dn else np.uint8(0)
        if is_hot:
            found |= OVER
            _mark_over(y, row_of(ceiling, y), a, b, raw, ceiling, over)
        elif hot[block + 1] != 0:
            for x in range(a, b):
                over[x + np.uint64(1)] = 0
        hot[block + 1] = is_hot
    return found


@kernel
def _extremes(y, a, b, raw):
    top = bottom = raw[y, a]
    for x in range(a, b):
        top, bottom = max(top, raw[y, x]), min(bottom, raw[y, x])
    return top, bottom


@kernel
def _mark_over(y, row, a, b, raw, ceiling, over):
    for x in range(a, b):
        over[x + np.uint64(1)] = raw[y, x] > ceiling[row, x]


@kernel
def cut_row(y, index, number, over, hot, state):
    """End the ramps of the pixels of a row that are above their ceiling, and those of their eight neighbours.

    Charge and capacitive coupling spill over.

    Parameters
    ----------
    y
        The row.
    index, number
        Of the read: among those used, and in the ramp; uint16.
    over, hot
        What `look_row` found in the row before, in this one and in the next.
    state
        See `planes.State`: `saturated_from`, `first_bad`, `marks` and `slow` change.
    """
    for block in range(state.slow.shape[1]):
        near = np.uint8(0)
        for row in hot:
            near |= row[block] | row[block + 1] | row[block + 2]
        if near != 0:
            a, b = np.uint64(block * BLOCK), np.uint64(min((block + 1) * BLOCK, state.marks.shape[1]))
            if state.slow[y, block] == 0:
                wake(y, block, a, b, state)
            _cut(y, a, b, index, number, over, state.saturated_from, state.first_bad, state.marks)


@kernel
def _cut(y, a, b, index, number, over, saturated_from, first_bad, marks):
    above, own, below = over
    for x in range(a, b):
        left, here, right = x, x + np.uint64(1), x + np.uint64(2)
        itself = own[here] != 0
        spills = above[left] | above[here] | above[right] | own[left] | own[right]
        spills |= below[left] | below[here] | below[right]
        new = (itself | (spills != 0)) & (first_bad[y, x] == NEVER)
        saturated_from[y, x] = min(saturated_from[y, x], number) if itself else saturated_from[y, x]
        first_bad[y, x] = index if new else first_bad[y, x]
        marks[y, x] |= SPILLED if new & (not itself) else np.uint8(0)


@kernel
def mark_floor_row(y, raw, floor_dn, marks):
    """Mark the pixels of a row at the converter's floor."""
    for x in range(raw.shape[1]):
        marks[y, x] |= FLOOR if np.float32(raw[y, x]) <= floor_dn else np.uint8(0)
