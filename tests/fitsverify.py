"""The FITS standard's own judge, for tests."""

import shutil
import subprocess
from pathlib import Path

from tests.data import need


def verify(path: Path) -> None:
    """Fail unless fitsverify finds nothing to say about a file; skip where the program is missing."""
    program = shutil.which("fitsverify")
    need(program is not None, "fitsverify")
    assert program is not None
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    assert "Verification found 0 warning(s) and 0 error(s)." in done.stdout, done.stdout
