"""The reads of one detector in the order of their sequence numbers, every irregularity counted.

What comes out depends on the reads alone, never on a clock, so live, replayed and offline runs agree.
"""

from collections import Counter

from streams.messages import Read

MAX_GAP = 4096
"""A longer jump of the sequence is another publisher, not a loss (4096 reads are 49 minutes)."""

IRREGULARITIES = ("lost", "late", "too_late", "duplicates", "incomplete", "restarts")
COUNTERS = ("delivered", *IRREGULARITIES)

Identity = tuple[str, int, int]


class Resequencer:
    """Puts the reads of one detector in order.

    Parameters
    ----------
    hold
        Early reads that are held; when one more comes, the gap before them is called lost.

    Notes
    -----
    `counters`: every read pushed is, at the latest after `flush`, one of `delivered`, `too_late` (came when its
    gap was called lost and its ramp was over), `duplicates` and `incomplete` (not all pixels were read). Beside
    these, `late` counts the delivered reads that came after their gap was called lost: they are out of order.
    `lost` counts sequence numbers that never came: a late or too late read is taken off it again.
    `restarts` counts publishers that began anew. Before the first read nothing is lost: we joined late.
    """

    def __init__(self, hold: int) -> None:
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._hold = hold
        self.reset()

    def reset(self) -> None:
        """Forget the publisher, and reads that are held: the next read is the first."""
        self._first: int | None = None  # the sequence number we joined at
        self._next = 0  # the one that comes next in order
        self._early: dict[int, Read] = {}
        self._missing: dict[int, None] = {}  # called lost, the latest MAX_GAP of them; dicts keep order
        self._seen: dict[Identity, None] = {}  # delivered, the latest MAX_GAP of them
        self._latest: Read | None = None  # the one that came last in order

    def push(self, read: Read) -> list[Read]:
        """Take one read and return those whose turn it is, in order; empty while one is waited for."""
        sequence = read.header.sequence
        if self._first is None:
            self._first = self._next = sequence
        elif self._is_restart(read):
            waiting = self.flush()
            self.counters["restarts"] += 1
            self.reset()
            return waiting + self.push(read)
        if sequence < self._next:
            return self._take_late(read)
        if sequence in self._early:
            self.counters["duplicates"] += 1
            return []
        self._early[sequence] = read
        ready = self._release()
        while len(self._early) > self._hold:
            self._call_lost(min(self._early))
            ready += self._release()
        return ready

    def flush(self) -> list[Read]:
        """Return the reads that are held, in order; the gaps before them are called lost."""
        ready: list[Read] = []
        while self._early:
            self._call_lost(min(self._early))
            ready += self._release()
        return ready

    def _is_restart(self, read: Read) -> bool:
        """Tell whether a sequence number that is not ahead as expected means a publisher that began anew."""
        header, latest = read.header, self._latest
        if header.sequence - self._next > MAX_GAP:
            return True
        held = self._early.get(header.sequence)
        if held is not None:
            return _identity(held) != _identity(read) and header.time_ns > held.header.time_ns
        if header.sequence >= self._next or latest is None:
            return False
        if header.time_ns > latest.header.time_ns:
            return True  # a late read, or one that comes twice, is not younger than those that overtook it
        if header.exposure_id == latest.header.exposure_id or header.sequence in self._missing:
            return False
        if _identity(read) in self._seen:
            return False
        # An older exposure: either somebody plays it again, or it was overtaken while we joined.
        return self._first is None or not 0 < self._first - header.sequence <= self._hold

    def _take_late(self, read: Read) -> list[Read]:
        header, latest = read.header, self._latest
        was_missing = header.sequence in self._missing
        before_joining = self._first is not None and header.sequence < self._first
        if _identity(read) in self._seen or not (was_missing or before_joining):
            self.counters["duplicates"] += 1
            return []
        if was_missing:
            del self._missing[header.sequence]
            self.counters["lost"] -= 1
        if not header.complete:
            self.counters["incomplete"] += 1
            return []
        if latest is None or _ramp(read) != _ramp(latest):
            self.counters["too_late"] += 1
            return []
        self.counters["late"] += 1
        return self._deliver(read)

    def _call_lost(self, before: int) -> None:
        self.counters["lost"] += before - self._next
        self._missing.update(dict.fromkeys(range(self._next, before)))
        _forget_oldest(self._missing)
        self._next = before

    def _release(self) -> list[Read]:
        """Take the reads whose turn it is; what is incomplete or known goes no further but leaves no gap."""
        ready: list[Read] = []
        while (read := self._early.pop(self._next, None)) is not None:
            self._next += 1
            if _identity(read) in self._seen:
                self.counters["duplicates"] += 1
                continue
            self._latest = read
            if read.header.complete:
                ready += self._deliver(read)
            else:
                self.counters["incomplete"] += 1
        return ready

    def _deliver(self, read: Read) -> list[Read]:
        self._seen[_identity(read)] = None
        _forget_oldest(self._seen)
        self.counters["delivered"] += 1
        return [read]


def _identity(read: Read) -> Identity:
    return read.header.exposure_id, read.header.ramp, read.header.read


def _ramp(read: Read) -> tuple[str, int]:
    return read.header.exposure_id, read.header.ramp


def _forget_oldest(known: dict[Identity, None] | dict[int, None]) -> None:
    while len(known) > MAX_GAP:
        del known[next(iter(known))]  # type: ignore[arg-type]
