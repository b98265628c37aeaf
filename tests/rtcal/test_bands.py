"""The turn of detectors that end together."""

import threading
import time
from collections import Counter
from types import SimpleNamespace

from rtcal.bands import Turn
from rtcal.issuing import Issuer
from rtcal.survey import survey_of
from tests.quicklook import make_frame

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


def test_a_cube_is_made_after_the_frames_that_wait_for_their_turn(pipeline_settings, bands, clock):
    class Cubes:
        def cube(self, look):
            return iter([look.frame])

    issuer = Issuer(pipeline_settings, bands, clock, None, Cubes(), Counter())
    frame = make_frame("IFS", side=32)
    out, look = [], SimpleNamespace(quick=("white",), frame="cube")
    products = issuer.products(frame, survey_of(frame, 32), look)
    thread = threading.Thread(target=lambda: [out.append(one) for one in products])
    with bands.turn.take():
        thread.start()
        until_s = time.monotonic() + WAIT_S
        while len(out) < 2 and time.monotonic() < until_s:
            time.sleep(0.001)
        thread.join(0.1)
        assert out == ["white", frame]
    thread.join(WAIT_S)
    assert out[2:] == ["cube"]


def test_a_fault_gives_the_turn_back():
    turn = Turn()
    try:
        with turn.take():
            raise ValueError
    except ValueError:
        assert not turn.locked()
    with turn.take(urgent=True):
        assert turn.locked()
