import logging

import numpy as np
import pytest

from streams.messages import Read
from streams.simulator import RunCounters, Simulator, run
from tests.simulated import simulated


class Clockwork:
    """A clock that only waits and sends move on; also the stop that `run` waits on."""

    def __init__(self, send_s=0.0, stop_s=float("inf")):
        self.now_s = 100.0
        self.sent = []
        self._send_s = send_s
        self._stop_s = 100.0 + stop_s

    def monotonic_s(self):
        return self.now_s

    def tai_ns(self):
        return 10**18

    def is_set(self):
        return self.now_s >= self._stop_s

    def wait(self, timeout=None):
        self.now_s = min(self.now_s + timeout, max(self._stop_s, self.now_s))
        return self.is_set()

    def send(self, message):
        self.sent.append((self.now_s - 100, message))
        self.now_s += self._send_s
        return True

    def close(self):
        raise AssertionError("the sink is the caller's to close")


def publish(clockwork, speed, **changes):
    simulator = Simulator(simulated(**changes), clockwork)
    return simulator, run(simulator, clockwork, clockwork, clockwork, speed)


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_messages_leave_when_they_are_due(speed):
    clockwork = Clockwork()
    simulator, counters = publish(clockwork, speed)
    dues = [due for due, _ in simulator.messages()]
    np.testing.assert_allclose([at_s for at_s, _ in clockwork.sent], np.array(dues) / speed)
    assert counters == RunCounters(messages=len(dues), reads=4, late=0, worst_lag_s=pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("speed", [None, 0.0])
def test_as_fast_as_possible_never_waits_and_is_never_late(speed):
    clockwork = Clockwork(send_s=50.0)
    _, counters = publish(clockwork, speed)
    assert [at_s for at_s, _ in clockwork.sent] == [50.0 * n for n in range(len(clockwork.sent))]
    assert (counters.reads, counters.late) == (4, 0)


def test_headers_do_not_depend_on_the_speed():
    slow, fast = Clockwork(), Clockwork()
    publish(slow, 1.0)
    publish(fast, None)
    assert [m.header for _, m in slow.sent] == [m.header for _, m in fast.sent]


def test_a_stop_ends_the_run_at_once():
    clockwork = Clockwork(stop_s=2.0)
    _, counters = publish(clockwork, 1.0, exposures=0)
    assert max(at_s for at_s, _ in clockwork.sent) < 2.0
    assert clockwork.now_s == 102.0
    assert counters.reads == 1


def test_reads_that_leave_too_late_are_counted_and_said_once(caplog):
    clockwork = Clockwork(send_s=0.8)
    with caplog.at_level(logging.WARNING):
        _, counters = publish(clockwork, 1.0, reads_per_ramp=8)
    assert counters.reads == 8
    assert 0 < counters.late <= 8
    assert counters.worst_lag_s > 0.72
    assert ["cannot keep up" in record.getMessage() for record in caplog.records] == [True]
    assert sum(isinstance(m, Read) for _, m in clockwork.sent) == 8
