"""A connection to the event server that comes back.

Redis may be absent at the start, die, come back, or be slow: each is counted, said once, and tried again
at growing intervals; nobody who reads detectors ever waits for it.
"""

import logging
from collections import Counter
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from streams.clock import Clock
from streams.csw_settings import CswSettings

log = logging.getLogger(__name__)

FAULTS = (redis.RedisError, OSError)
"""What tells that a connection is of no more use."""


class Link:
    """A connection to the event server that is made again when it breaks.

    Parameters
    ----------
    settings
        Where the server is, or which sentinels know.
    clock
        For the intervals between attempts.
    """

    def __init__(self, settings: CswSettings, clock: Clock) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._clock = clock
        self._client: Any = None
        self._next_s = 0.0
        self._wait_s = settings.retry_s
        self._said = ""

    @property
    def where(self) -> str:
        """Where the server is looked for."""
        settings = self._settings
        if settings.sentinel:
            return f"{settings.master} by the sentinels {', '.join(settings.sentinel)}"
        return settings.redis

    def client(self) -> Any:
        """Return the connection, made now if need be; None while there is none (and it is too early to try again)."""
        if self._client is None and self._clock.monotonic_s() >= self._next_s:
            try:
                client = self._open()
                client.ping()
            except FAULTS as error:
                self.failed(error)
                return None
            self._client = client
            self.counters["connected"] += 1
            self._wait_s, self._said = self._settings.retry_s, ""
            log.info("event server %s: connected", self.where)
        return self._client

    def failed(self, error: Exception) -> None:
        """Give the connection up; it is tried again later, and the same trouble is said once."""
        self.counters["connection_failures"] += 1
        text = f"{type(error).__name__}: {error}"
        if text != self._said:
            log.warning("event server %s: %s; trying again", self.where, text)
            self._said = text
        self.close()
        self._next_s = self._clock.monotonic_s() + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._settings.retry_max_s)

    def wait_s(self) -> float:
        """Return how long there is nothing to try [s]."""
        return 0.0 if self._client is not None else max(0.0, self._next_s - self._clock.monotonic_s())

    def close(self) -> None:
        """Close the connection; the next `client` makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except FAULTS:
                self.counters["close_failures"] += 1

    def _open(self) -> Any:
        settings = self._settings
        options: dict[str, Any] = {
            "socket_timeout": settings.timeout_s,
            "socket_connect_timeout": settings.timeout_s,
            "retry": Retry(NoBackoff(), 0),
        }
        if settings.sentinel:
            addresses = [_address(text) for text in settings.sentinel]
            sentinel: Any = Sentinel(addresses, **options)  # type: ignore[no-untyped-call]
            host, port = sentinel.discover_master(settings.master)
        else:
            host, port = _address(settings.redis)
        return redis.Redis(host=host, port=port, **options)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)
