import subprocess
import sys
from pathlib import Path

FAULTS = """
import resource
import sys
from streams.heap import keep_heap
if "keep" in sys.argv:
    assert keep_heap()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(1 << 25)
before = faults()
for _ in range(20):
    bytearray(1 << 25)
print(faults() - before)
"""


def page_faults(*arguments: str) -> int:
    """Count the page faults of twenty buffers of 32 MiB, one after another."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_buffers_are_not_mapped_anew() -> None:
    assert page_faults("keep") < page_faults() / 10
