"""Fixtures for calibrations made from ramps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lamp import Held


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """Make stacks of frames and ramps that are closed in the end."""
    with Held(tmp_path) as stacks:
        yield stacks
