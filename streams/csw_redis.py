"""The event service over Redis: a subscriber and a publisher."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis

from streams.clock import Clock
from streams.csw import IGNORED_KEY
from streams.csw_link import FAULTS, Link
from streams.csw_settings import CswSettings
from streams.errors import EventServerError

SCAN_COUNT = 500
MAX_KEYS = 10_000
MAX_WAITING = 10_000
"""Events that a publisher keeps while the server is away; the oldest are dropped."""


class CswSubscriber:
    """Payloads of the events of all patterns: the last value of each on every (re)connection, then what comes.

    Parameters
    ----------
    settings
        The table `[csw]`.
    clock
        For intervals.

    Notes
    -----
    `counters`: those of the link, `events` (payloads published), `last_values` (fetched at a connection) and
    `silences` (the server said nothing for too long, not even to a ping).
    """

    def __init__(self, settings: CswSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._link = Link(settings, clock)
        self._channel: Any = None
        self._fetched: deque[bytes] = deque()
        self._heard_s = 0.0
        self._asked = False
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """What has happened so far."""
        return self._link.counters + self._counts

    @property
    def where(self) -> str:
        """Where the server is looked for."""
        return self._link.where

    @property
    def connected(self) -> bool:
        """True while events can come."""
        return self._channel is not None

    def receive(self, timeout_s: float, sleep: Callable[[float], object]) -> bytes | None:
        """Return the next payload, or None if none came in time; `sleep` passes the time while there is no server."""
        if self._channel is None and not self._subscribe():
            sleep(min(timeout_s, max(self._link.wait_s(), 0.01)))
            return None
        if self._fetched:
            return self._fetched.popleft()
        try:
            note = self._channel.get_message(timeout=timeout_s)
            self._watch(note is not None)
        except FAULTS as error:
            self._drop(error)
            return None
        if note is None or note["type"] != "pmessage" or note["channel"] == IGNORED_KEY.encode():
            return None
        self._counts["events"] += 1
        return bytes(note["data"])

    def close(self) -> None:
        """Leave the server."""
        if self._channel is not None:
            try:
                self._channel.close()
            except FAULTS:
                self._counts["close_failures"] += 1
            self._channel = None
        self._link.close()

    def _subscribe(self) -> bool:
        client = self._link.client()
        if client is None:
            return False
        try:
            channel = client.pubsub()
            channel.psubscribe(*self._settings.patterns)
            # After the subscription: an event published meanwhile comes twice, none is missed.
            self._fetched = deque(self._last_values(client))
        except FAULTS as error:
            self._drop(error)
            return False
        self._channel = channel
        self._heard_s, self._asked = self._clock.monotonic_s(), False
        self._counts["last_values"] += len(self._fetched)
        return True

    def _last_values(self, client: Any) -> Iterable[bytes]:
        names: set[bytes] = set()
        for pattern in self._settings.patterns:
            for name in client.scan_iter(match=pattern, count=SCAN_COUNT, _type="string"):
                names.add(name)
                if len(names) >= MAX_KEYS:
                    break
        names.discard(IGNORED_KEY.encode())
        ordered = sorted(names)
        for start in range(0, len(ordered), SCAN_COUNT):
            yield from (value for value in client.mget(ordered[start : start + SCAN_COUNT]) if value is not None)

    def _watch(self, heard: bool) -> None:
        """Ask a server that is silent whether it is there, and leave it if it does not answer."""
        now_s = self._clock.monotonic_s()
        if heard:
            self._heard_s, self._asked = now_s, False
        elif now_s - self._heard_s > self._settings.silence_s + self._settings.timeout_s:
            self._counts["silences"] += 1
            raise redis.TimeoutError("silent, and no answer to a ping")
        elif now_s - self._heard_s > self._settings.silence_s and not self._asked:
            self._asked = True
            self._channel.ping()

    def _drop(self, error: Exception) -> None:
        self._fetched.clear()
        channel, self._channel = self._channel, None
        if channel is not None:
            try:
                channel.close()
            except FAULTS:
                self._counts["close_failures"] += 1
        self._link.failed(error)


class CswPublisher:
    """Publishes events as a CSW component does: PUBLISH, and SET for who comes later.

    Parameters
    ----------
    settings
        The table `[csw]`.
    clock
        For the intervals between attempts.

    Notes
    -----
    While the server is away the newest events wait, the rest is `dropped`.
    """

    def __init__(self, settings: CswSettings, clock: Clock) -> None:
        self._link = Link(settings, clock)
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> Counter[str]:
        """`sent`, `dropped`, and those of the link."""
        return self._link.counters + self._counts

    def require(self) -> None:
        """Connect now.

        Raises
        ------
        EventServerError
            If the server is not there.
        """
        if self._link.client() is None:
            raise EventServerError(
                f"no event server at {self._link.where}; is Redis running there? ([csw] in the configuration)"
            )

    def publish(self, key: str, payload: bytes) -> bool:
        """Publish a payload under a key, and what has waited before it; False if one had to be dropped."""
        return self.publish_all([(key, payload)])

    def publish_all(self, events: Sequence[tuple[str, bytes]]) -> bool:
        """Publish payloads under their keys in one go, and what has waited before them; False if one was dropped."""
        self._waiting.extend(events)
        client = self._link.client()
        if client is not None:
            try:
                with client.pipeline(transaction=False) as batch:
                    batch.mset(dict(self._waiting))
                    for key, payload in self._waiting:
                        batch.publish(key, payload)
                    batch.execute()
            except FAULTS as error:
                self._link.failed(error)
            else:
                self._counts["sent"] += len(self._waiting)
                self._waiting.clear()
        surplus = max(len(self._waiting) - MAX_WAITING, 0)
        for _ in range(surplus):
            self._waiting.popleft()
        self._counts["dropped"] += surplus
        return not surplus

    def publish_now(self, key: str, payload: bytes, keep_s: float) -> bool:
        """Publish a payload at once, and keep it for `keep_s`; False, and nothing waits, if the server is away."""
        client = self._link.client()
        if client is None:
            self._counts["dropped"] += 1
            return False
        try:
            client.ping()  # a server that has stopped would take up what lies in its socket when it goes on
            with client.pipeline(transaction=False) as batch:
                batch.set(key, payload, px=round(keep_s * 1000))
                batch.publish(key, payload)
                batch.execute()
        except FAULTS as error:
            self._link.failed(error)
            self._counts["dropped"] += 1
            return False
        self._counts["sent"] += 1
        return True

    def close(self) -> None:
        """Leave the server."""
        self._link.close()
