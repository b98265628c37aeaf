"""The turn of detectors that end together."""

import threading
import time

from rtcal.bands import Turn

WAIT_S = 10.0


def queue_up(turn, urgent, order, name):
    """Start a thread that asks for the turn; return when it waits."""

    def take():
        with turn.take(urgent=urgent):
            order.append(name)

    waiting = len(turn._waiting)
    thread = threading.Thread(target=take)
    thread.start()
    until_s = time.monotonic() + WAIT_S
    while len(turn._waiting) == waiting and time.monotonic() < until_s:
        time.sleep(0.001)
    return thread


def test_who_is_urgent_goes_first_and_others_in_their_order():
    turn, order = Turn(), []
    with turn.take():
        assert turn.locked()
        asked = [(False, "IMG1"), (False, "IMG2"), (True, "IFS"), (False, "IMG3")]
        threads = [queue_up(turn, urgent, order, name) for urgent, name in asked]
        assert order == []
    for thread in threads:
        thread.join(WAIT_S)
    assert order == ["IFS", "IMG1", "IMG2", "IMG3"]
    assert not turn.locked()


def test_who_lets_others_by_comes_after_those_who_have_asked_and_does_not_keep_the_turn():
    turn, order = Turn(), []
    with turn.take():
        threads = [queue_up(turn, False, order, name) for name in ("first", "second")]
        cube = threading.Thread(target=lambda: (turn.let_by(), order.append("cube")))
        cube.start()
        cube.join(0.1)
        assert cube.is_alive()
    for thread in (*threads, cube):
        thread.join(WAIT_S)
    assert order == ["first", "second", "cube"]
    assert not turn.locked()


def test_a_fault_gives_the_turn_back():
    turn = Turn()
    try:
        with turn.take():
            raise ValueError
    except ValueError:
        assert not turn.locked()
    with turn.take(urgent=True):
        assert turn.locked()
