"""Where tests find the real data that lie beside the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent / "shared" / "data"


def need(present: bool, what: str) -> None:
    """Skip a test for want of `what`; with RTCAL_REQUIRE_ALL=1 (CI) fail it instead."""
    if present:
        return
    if os.environ.get("RTCAL_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is missing and RTCAL_REQUIRE_ALL=1")
    pytest.skip(f"{what} is missing")


def shared_data(name: str) -> Path:
    """Return the path of a file or folder of the shared data, or skip the test."""
    path = ROOT / name
    need(path.exists(), f"shared data {name}")
    return path
