"""Calibrated frames from detector reads, while they come."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("iris-rtcal")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
