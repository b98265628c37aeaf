"""Errors of the `streams` package."""


class StreamsError(Exception):
    """Base of every error that `streams` raises on purpose."""


class WireError(StreamsError, ValueError):
    """A message that cannot be believed; it is counted by `cause` and dropped.

    Parameters
    ----------
    cause
        One of `wire.CAUSES`: the counter that goes up.
    text
        What was found and what would have been right.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(f"{cause}: {text}")
        self.cause = cause


class EndpointError(StreamsError, OSError):
    """A socket that cannot be bound or connected."""


class SettingsError(StreamsError, ValueError):
    """A configuration file that cannot be used: names the file, the line and the key."""


class ReadsError(StreamsError, ValueError):
    """A file that cannot become reads: names the file, the key and the remedy."""


class WindowError(StreamsError, ValueError):
    """A window that does not say where it lies, or not in a way that can be."""


class RecordingError(StreamsError, OSError):
    """A recording that cannot be written or read."""


class ImageError(StreamsError, OSError):
    """An image file that cannot be written or read back: names the file and the remedy."""


class ReferencesError(StreamsError, OSError):
    """Simulated references or truth that cannot be written: names the directory and the remedy."""


class CswError(StreamsError, ValueError):
    """An event of the observatory's event service that cannot be believed; counted by `cause` and dropped.

    Parameters
    ----------
    cause
        One of `csw.CAUSES`: the counter that goes up.
    text
        What was found and what would have been right.
    """

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(f"{cause}: {text}")
        self.cause = cause


class EventServerError(StreamsError, OSError):
    """An event server that cannot be reached or used: names it and the remedy."""
