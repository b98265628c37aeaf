"""Benchmarks report and give no verdict; they run only when asked for, with --benchmark-only."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what lies here in a run of the tests."""
    if config.getoption("benchmark_only", default=False):
        return
    skip = pytest.mark.skip(reason="reports only: pytest tests/benchmarks --benchmark-only")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)
