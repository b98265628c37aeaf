"""Events as messages to the event service, many at a time: whoever sends them never waits for the server."""

import threading
from collections import Counter, deque

from streams.closing import Closing
from streams.csw import encode
from streams.csw_messages import from_message
from streams.csw_redis import MAX_WAITING, CswPublisher
from streams.messages import Message, Observe, Telemetry
from streams.telemetry_keys import KeyTable

TICK_S = 0.02
"""Events of so long go to the server together: an answer for each would cost more than the events."""


class CswSink(Closing):
    """A sink of telemetry and observe events, which a thread of its own publishes; other messages are ignored.

    Parameters
    ----------
    publisher
        Publishes on; it becomes the sink's own.
    table
        Gives values their types and units.

    Notes
    -----
    `counters`: those of the publisher, which it also counts what is dropped in.
    """

    def __init__(self, publisher: CswPublisher, table: KeyTable) -> None:
        self._publisher = publisher
        self._table = table
        self._taken: deque[Telemetry | Observe] = deque()
        self._over = threading.Event()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> Counter[str]:
        """What has happened so far."""
        return self._publisher.counters + Counter(dropped=self._dropped)

    def send(self, message: Message) -> bool:
        """Take an event, which is published within two hundredths of a second; False if it had to be dropped."""
        if not isinstance(message, Telemetry | Observe):
            return True
        if len(self._taken) >= MAX_WAITING:  # the server answers too slowly
            self._dropped += 1
            return False
        self._taken.append(message)
        return True

    def close(self) -> None:
        """Publish what was taken and leave the server."""
        self._over.set()
        self._thread.join()
        self._publisher.close()

    def _run(self) -> None:
        over = False
        while not over:
            over = self._over.wait(TICK_S)
            events = [from_message(self._taken.popleft(), self._table) for _ in range(len(self._taken))]
            if events:
                self._publisher.publish_all([(event.key, encode(event)) for event in events])
