"""Memory of large messages, kept for the next instead of being given back after each."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # parameters of mallopt, malloc.h
_NEVER = -1  # 2**31 - 1 would be 2 GiB


def keep_heap() -> bool:
    """Let this process keep what it has freed; call it once, first of all, in a program that receives reads.

    ZeroMQ takes a new buffer for each message, and each frame is new. Large ones come from the system by
    default, every page of them zeroed and mapped anew: with 32 MiB a message that is half of the time a
    receiver takes. What is kept never exceeds the most that was in use at once. All threads share one
    heap: those that glibc gives to threads hold at most 64 MiB, and what is larger would still be mapped.

    Returns
    -------
    bool
        False where there is no such setting (not glibc); nothing is changed then.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1))
    return all(mallopt(parameter, value) != 0 for parameter, value in settings)


def trim_heap() -> None:
    """Give back what is kept and not in use, where there is such a call (glibc)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
