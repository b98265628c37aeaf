"""How much memory this process has."""

import os
import resource
from pathlib import Path


def resident_bytes() -> int:
    """Return what is resident now; where the system does not say, the most that was."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
