"""After the warm-up no live read waits for the compiler."""

import json
import subprocess
import sys

import pytest

from tests.rigs import PROCESS_S, ROOT, quiet_environment


@pytest.fixture(scope="module")
def compiled():
    command = [sys.executable, "-m", "tests.signatures"]
    environment = quiet_environment(NUMBA_DISABLE_JIT="0")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PROCESS_S, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_that_is_called_is_compiled_by_the_warm_up(compiled):
    called = {name for name, found in compiled["after"].items() if found}
    assert {"rtcal.kernels.read.add_read", "rtcal.kernels.badpix.repair", "rtcal.kernels.finish.finish_rows"} <= called
    assert {name for name, found in compiled["warm"].items() if found} == called


def test_reads_of_both_types_in_all_modes_with_all_references_compile_nothing_more(compiled):
    assert compiled["frames"] == 2 * 3 * 3 * 2 * 4
    assert compiled["after"] == compiled["warm"]
