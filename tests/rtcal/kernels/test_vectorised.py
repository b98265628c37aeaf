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

from rtcal.kernels import badpix, bins, calibrate, fit, segments, signal

F4, U2, U1 = float32[::1], uint16[::1], numba.uint8[::1]
IMAGE, FLAGS, MOMENTS = float32[:, ::1], numba.uint32[:, ::1], float32[:, :, ::1]

HOT_LOOPS = {
    "zero level": (signal._subtract_row, (U2, U2, F4, float32, F4)),
    "linearity": (signal._horner, (F4, F4, F4)),
    "sums": (segments._sum_all, (F4, float32, F4, F4)),
    "sums, saturated block": (segments._sum_unsaturated, (F4, float32, F4, F4, U2)),
    "sums and the signal kept": (segments._add_all, (F4, float32, F4, F4, F4)),
    "sums, jumps in the block": (segments._add_calm, (F4, float32, F4, F4, F4, U1)),
    "jumps": (segments._is_quiet, (F4, F4, F4, F4, *[float32] * 7)),
    "jumps, block with one": (segments._find_busy, (F4, F4, F4, F4, U2, U2, *[float32] * 7, U1)),
    "first jumps": (segments._first_steps_quiet, (F4, F4, F4, F4, F4, float32, float32, float32)),
    "first jumps, block with one": (
        segments._find_busy_first,
        (F4, F4, F4, F4, U2, F4, float32, float32, float32, U1),
    ),
    "fit": (fit._fit_whole, (F4, F4, *[float32] * 4, F4, F4, F4)),
    "preview": (
        segments._add_slopes,
        (MOMENTS, FLAGS, numba.uint32, int64, numba.uint64, numba.uint64, float32, float32, F4, F4),
    ),
    "bins": (bins._add_row, (U2, F4)),
    "subtract": (calibrate.subtract, (IMAGE, IMAGE, IMAGE, IMAGE, float32, float32)),
    "divide": (calibrate.divide, (IMAGE, IMAGE, IMAGE, IMAGE)),
    "root": (calibrate.root, (IMAGE,)),
    "variances of neighbours": (badpix._mask, (IMAGE, IMAGE, numba.uint8[:, ::1], int64, numba.int32[::1], F4)),
}
PACKED = re.compile(r"^\s*v(?:add|sub|mul|div|sqrt|fmadd\w*)ps\s.*%[yz]mm", re.MULTILINE)

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
