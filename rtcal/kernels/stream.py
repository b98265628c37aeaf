"""Stores that go around the caches: for planes that nobody reads soon.

An ordinary store first fetches the line that it overwrites, and pushes out of the cache something that is
still wanted. `np.copyto` of a large array does the same.
"""

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from rtcal.kernels._jit import kernel

PLAIN = bool(config.DISABLE_JIT)
"""Whether kernels run as plain Python."""
LINE = 64
"""Bytes of a line of the cache."""


@intrinsic
def _store_lines(typing: Any, target: Any, source: Any, lines: Any) -> Any:  # noqa: ARG001 (its signature below)
    """Copy so many whole lines, from any address to the beginning of a line."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        words = ir.VectorType(ir.IntType(32), LINE // 4)
        to, of = (builder.inttoptr(address, words.as_pointer()) for address in args[:2])
        around = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        with cgutils.for_range(builder, args[2]) as loop:
            value = builder.load(builder.gep(of, [loop.index]))
            value.align = 1
            store = builder.store(value, builder.gep(to, [loop.index]))
            store.align = LINE
            store.set_metadata("nontemporal", around)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


@kernel
def stream_out(target, source):
    """Copy a row to where nobody looks soon.

    Parameters
    ----------
    target, source
        (x,), contiguous, of one type; the whole lines of `target` are stored around the caches.
    """
    n, per_line = target.size, LINE // target.itemsize
    first = min((-target.ctypes.data % LINE) // target.itemsize, n)
    lines = 0 if PLAIN else (n - first) // per_line  # plain Python has no such stores
    for x in range(first):
        target[x] = source[x]
    offset = first * target.itemsize
    if lines > 0:
        _store_lines(target.ctypes.data + offset, source.ctypes.data + offset, lines)
    for x in range(first + lines * per_line, n):
        target[x] = source[x]
