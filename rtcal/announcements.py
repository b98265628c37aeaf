"""Telemetry that announces a setup: a filter wheel that moves tells what the next exposure will need."""

from collections.abc import Mapping

from streams.messages import Scalar, TelemetryHeader


class Announcements:
    """Changes of setup keys, each told once.

    Parameters
    ----------
    keys
        Setup key by `EVENT.parameter`.

    Attributes
    ----------
    latest
        What was told last, by setup key.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = keys
        self._events = {name.rpartition(".")[0] for name in keys}
        self.latest: dict[str, Scalar] = {}

    def changes(self, header: TelemetryHeader) -> dict[str, Scalar]:
        """Return the setup keys that an event says something new of, with their values."""
        if header.event not in self._events:
            return {}
        changed: dict[str, Scalar] = {}
        for parameter, value in header.values.items():
            key = self._keys.get(f"{header.event}.{parameter}")
            if isinstance(value, list) and len(value) == 1:
                value = value[0]  # the event service has no scalars
            if key is None or value is None or isinstance(value, list) or self.latest.get(key) == value:
                continue
            self.latest[key] = changed[key] = value
        return changed
