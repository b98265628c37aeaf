"""The loops that every pixel of every read goes through must come out of the compiler as vector code.

A change that looks innocent (a branch, a signed bound) makes them scalar: right, and several times slower.
"""

import os
import platform
import re

import numba
import pytest
from llvmlite import binding
from numba import float32, int64, uint16

from rtcal.kernels import badpix, bins, close, finish, jumps, limits, preview, signal, sums
from rtcal.kernels.finish import Estimate

F4, U2, U1 = float32[::1], uint16[::1], numba.uint8[::1]
IMAGE, RAW, MASK, FLAGS = float32[:, ::1], uint16[:, ::1], numba.uint8[:, ::1], numba.uint32[:, ::1]
PLANES, Y, A = float32[:, :, ::1], int64, numba.uint64
PREDICTION, FIRST_PREDICTION = numba.types.UniTuple(float32, 6), numba.types.UniTuple(float32, 8)
ESTIMATE = numba.types.NamedTuple((PLANES, F4, int64, float32, float32, numba.boolean), Estimate)

HOT_LOOPS = {
    "levels": (limits._extremes, (Y, A, A, RAW)),
    "saturated pixels": (limits._mark_over, (Y, Y, A, A, RAW, RAW, U1)),
    "zero level": (signal.signal_row, (Y, RAW, RAW, F4, F4, F4)),
    "linearity": (signal.linearise_row, (Y, F4, PLANES, F4)),
    "linearity of three reads": (signal.linearise_rows, (Y, F4, PLANES, F4, F4, F4)),
    "sums": (sums.add_all, (Y, A, A, F4, float32, PLANES)),
    "sums, saturated block": (sums.add_unsaturated, (Y, A, A, F4, float32, PLANES, RAW)),
    "sums, jumps in the block": (sums.add_calm, (Y, A, A, F4, float32, PLANES, U1)),
    "jumps": (jumps._is_quiet, (Y, A, A, F4, F4, PLANES, float32, PREDICTION)),
    "jumps, block with one": (jumps._find_busy, (Y, A, A, uint16, F4, F4, PLANES, RAW, RAW, float32, PREDICTION, U1)),
    "first jumps": (jumps._first_steps_quiet, (A, A, F4, F4, F4, FIRST_PREDICTION)),
    "first jumps, block with one": (
        jumps._find_busy_first,
        (Y, A, A, F4, F4, F4, RAW, FIRST_PREDICTION, U1),
    ),
    "ramps gathered": (close._add_plain, (Y, A, A, PLANES, F4, float32, float32, U1, PLANES)),
    "slope": (finish._plain_rate, (Y, A, A, ESTIMATE, F4, Y, IMAGE, IMAGE)),
    "slope of several ramps": (finish._gathered_rate, (Y, A, A, PLANES, float32, F4, Y, IMAGE, IMAGE)),
    "subtract": (finish._subtract, (Y, A, A, IMAGE, IMAGE, float32, float32, Y, IMAGE, IMAGE)),
    "divide": (finish._divide, (Y, A, A, IMAGE, IMAGE, Y, IMAGE, IMAGE)),
    "root": (finish._root, (A, A, Y, IMAGE)),
    "preview": (preview._add_slopes, (Y, A, A, PLANES, MASK, float32, float32, F4, F4)),
    "bins": (bins._add_row, (U2, F4)),
    "bins of good pixels": (bins._add_good_row, (F4, numba.uint32[::1], numba.uint32, F4, F4)),
    "variances of neighbours": (badpix._mask, (IMAGE, IMAGE, MASK, int64, numba.int32[::1], F4)),
}
PACKED = re.compile(r"^\s*v(?:(?:add|sub|mul|div|sqrt|fmadd\w*)ps|pm(?:ax|in)uw|pcmp\w+)\s.*%[yz]mm", re.MULTILINE)

pytestmark = [
    pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled with NUMBA_DISABLE_JIT"),
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64"),
        reason=f"the names of registers on {platform.machine()} are not known to this test; those of x86_64 are",
    ),
    pytest.mark.skipif(not binding.get_host_cpu_features().get("avx2"), reason="this processor has no AVX2"),
]


def assembler(function, signature):
    """Compile a kernel anew (of what comes from Numba's cache there is no listing) and return what came out."""
    compiled = numba.njit(nogil=True, error_model="numpy")(getattr(function, "py_func", function))
    compiled.compile(signature)
    return compiled.inspect_asm(compiled.signatures[0])


@pytest.mark.parametrize("loop", HOT_LOOPS)
def test_the_hot_loops_are_vector_code(loop):
    function, signature = HOT_LOOPS[loop]
    assert PACKED.search(assembler(function, signature)), f"{function.__name__} is scalar: see docs/performance.md"


def test_a_loop_that_cannot_be_vectorised_is_seen():
    def running_sum(values, total):
        for i in range(1, values.size):
            total[i] = total[i - 1] * values[i] + values[i]

    assert not PACKED.search(assembler(running_sum, (F4, F4)))
