"""The bridge: events of the observatory's event service become messages of ours."""

import logging
import threading
from collections import Counter

from streams.csw import decode
from streams.csw_messages import to_message
from streams.csw_redis import CswSubscriber
from streams.errors import CswError, WireError
from streams.messages import Observe, Telemetry
from streams.sinks import Sink
from streams.telemetry_keys import KeyTable

log = logging.getLogger(__name__)

MAX_UNKNOWN = 1000
MAX_TOGETHER = 100
"""Events that are passed on together, so that a flood of them cannot hold up a stop."""


class CswBridge:
    """Takes events from the event service and sends them on, until told to stop.

    Parameters
    ----------
    subscriber
        Where they come from.
    table
        Which of them are steps of the observing sequence, and which are known.
    sink
        Where the messages go.

    Notes
    -----
    `counters`: those of the subscriber, `telemetry` and `observe` sent, `rejected_<cause>` for each cause of
    `csw.CAUSES`, `rejected_message` (no message of ours can hold it), `unknown_events` and `steps_ignored`. Events
    that are not known are sent on all the same: another table may know them. The log names each once.
    """

    def __init__(self, subscriber: CswSubscriber, table: KeyTable, sink: Sink) -> None:
        self._subscriber = subscriber
        self._table = table
        self._sink = sink
        self._sequences: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._unknown: set[str] = set()

    @property
    def counters(self) -> Counter[str]:
        """What has happened so far."""
        return self._subscriber.counters + self._counts

    def run(self, stop: threading.Event, poll_s: float = 0.2) -> None:
        """Pass events on until `stop` is set."""
        while not stop.is_set():
            self.step(poll_s, stop)

    def step(self, timeout_s: float, stop: threading.Event) -> None:
        """Wait at most `timeout_s` for an event, and pass on what has come by then."""
        messages: list[Telemetry | Observe | None] = []
        while len(messages) < MAX_TOGETHER:
            payload = self._subscriber.receive(0.0 if messages else timeout_s, stop.wait)
            if payload is None:
                break
            messages.append(self._message(payload))
        # One after another without a pause: ZeroMQ's thread then wakes once, not for each.
        for message in messages:
            if message is not None:
                self._pass(message)

    def _message(self, payload: bytes) -> Telemetry | Observe | None:
        try:
            event = decode(payload)
            message = to_message(event, self._table, self._number)
        except CswError as error:
            self._reject(error.cause, error)
            return None
        if message is None:
            self._counts["steps_ignored"] += 1
            return None
        self._note(event.key)
        return message

    def _pass(self, message: Telemetry | Observe) -> None:
        try:
            self._sink.send(message)
        except WireError as error:
            self._reject("message", error)
            return
        self._counts["telemetry" if isinstance(message, Telemetry) else "observe"] += 1

    def _number(self, source: str) -> int:
        number = self._sequences[source]
        self._sequences[source] += 1
        return number

    def _note(self, key: str) -> None:
        """Count events that the table does not know, and name each once."""
        if self._table.event(key) is None and self._table.observe_name(key) is None:
            self._counts["unknown_events"] += 1
            if key not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
                self._unknown.add(key)
                log.info("event %s is not in the key table", key)

    def _reject(self, cause: str, error: Exception) -> None:
        """Count a refused event by cause, and log the 1st, 10th, 100th ... of each cause."""
        self._counts[f"rejected_{cause}"] += 1
        count = self._counts[f"rejected_{cause}"]
        if count == 10 ** (len(str(count)) - 1):
            log.warning("refused event %d of its kind: %s", count, error)
