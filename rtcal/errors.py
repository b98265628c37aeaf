"""Errors of the `rtcal` package."""


class RtcalError(Exception):
    """Base of every error that `rtcal` raises on purpose."""


class ShapeError(RtcalError, ValueError):
    """Arrays that should fit do not."""


class ReadRejected(RtcalError, ValueError):  # noqa: N818 - an outcome to be counted, not a fault of the program
    """A read that cannot be part of its ramp; it is counted by `cause` and left out.

    Parameters
    ----------
    cause
        The counter that goes up.
    text
        What was found and what was expected.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


class UsageError(RtcalError, ValueError):
    """A command that was called wrongly: the exit code is 2."""
