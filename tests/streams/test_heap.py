import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource
import sys
import threading
from streams.heap import keep_heap
if "keep" in sys.argv:
    assert keep_heap()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    bytearray(size)
    before = faults()
    for _ in range(20):
        bytearray(size)
    print(faults() - before)
size = int(sys.argv[1])
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def page_faults(*arguments: str) -> int:
    """Count the page faults of twenty buffers on a thread, one after another."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("mib", [32, 80], ids=["read", "frame"])
def test_large_buffers_of_any_thread_are_not_mapped_anew(mib: int) -> None:
    size = str(mib << 20)
    assert page_faults(size, "keep") < page_faults(size) / 10


TRIM = """
from pathlib import Path
from streams.heap import keep_heap, trim_heap
assert keep_heap()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
first = bytearray(200 << 20)
last = bytearray(1 << 16)
del first
kept = resident()
trim_heap()
print(kept - resident())
"""


def test_what_is_kept_can_be_given_back() -> None:
    command = [sys.executable, "-c", TRIM]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150 << 20
