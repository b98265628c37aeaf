from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages import Read
from streams.ordering import MAX_GAP, Resequencer
from tests.samples import FRAME_NS, TIME_NS, make_read

HOLD = 2


def reads(*sequences: int, **changes: object) -> list[Read]:
    return [make_read(sequence, **changes) for sequence in sequences]


def push_all(order: Resequencer, incoming: Sequence[Read], flush: bool = True) -> list[int]:
    out = [read for one in incoming for read in order.push(one)]
    out += order.flush() if flush else []
    return [read.header.sequence for read in out]


def accounted(order: Resequencer) -> int:
    return sum(order.counters[name] for name in ("delivered", "too_late", "duplicates", "incomplete"))


def test_reads_in_order_pass_at_once() -> None:
    order = Resequencer(HOLD)
    assert [len(order.push(read)) for read in reads(0, 1, 2)] == [1, 1, 1]
    assert order.counters["delivered"] == 3
    assert order.counters["lost"] == 0


def test_joining_late_is_no_loss() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(17, 18)) == [17, 18]
    assert order.counters["lost"] == 0


def test_an_early_read_waits_for_its_turn() -> None:
    order = Resequencer(HOLD)
    zero, one, two = reads(0, 1, 2)
    assert order.push(zero) == [zero]
    assert order.push(two) == []
    assert order.push(one) == [one, two]


def test_the_third_early_read_declares_the_gap_lost() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(0, 2, 3), flush=False) == [0]
    assert push_all(order, reads(4), flush=False) == [2, 3, 4]
    assert order.counters["lost"] == 1


def test_only_the_gaps_that_must_close_are_closed() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(0, 2, 5, 7), flush=False) == [0, 2]
    assert order.counters["lost"] == 1
    assert push_all(order, reads(3, 4), flush=False) == [3, 4, 5]
    assert push_all(order, [], flush=True) == [7]
    assert order.counters["lost"] == 2


def test_without_holding_a_gap_is_lost_at_once() -> None:
    order = Resequencer(0)
    assert push_all(order, reads(0, 3), flush=False) == [0, 3]
    assert order.counters["lost"] == 2


def test_a_late_read_of_the_current_ramp_is_delivered_and_no_longer_lost() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(0, 2, 3, 4, 1)) == [0, 2, 3, 4, 1]
    assert (order.counters["late"], order.counters["lost"]) == (1, 0)


def test_a_late_read_of_a_ramp_that_is_over_is_dropped() -> None:
    order = Resequencer(HOLD)
    late = make_read(1)
    new_ramp = reads(2, 3, 4, ramp=1)
    assert push_all(order, [make_read(0), *new_ramp, late]) == [0, 2, 3, 4]
    assert (order.counters["too_late"], order.counters["lost"], order.counters["restarts"]) == (1, 0, 0)


def test_a_late_read_of_an_exposure_that_is_over_is_no_restart() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0), *reads(2, 3, 4, exposure_id="B"), make_read(1)]) == [0, 2, 3, 4]
    assert (order.counters["too_late"], order.counters["restarts"]) == (1, 0)


def test_a_read_overtaken_while_we_joined_is_late_and_no_restart() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(10, 9, 11)) == [10, 9, 11]
    assert order.counters["late"] == 1
    other = Resequencer(HOLD)
    assert push_all(other, [*reads(10, exposure_id="B"), make_read(9), *reads(11, exposure_id="B")]) == [10, 11]
    assert (other.counters["too_late"], other.counters["restarts"]) == (1, 0)


@pytest.mark.parametrize("again", [0, 1, 2, 3])
def test_duplicates_are_dropped_wherever_they_come(again: int) -> None:
    order = Resequencer(HOLD)
    incoming = reads(0, 1, 3)
    assert push_all(order, [*incoming, make_read(again), *reads(2, 4)]) == [0, 1, 2, 3, 4]
    assert order.counters["duplicates"] == 1
    assert order.counters["lost"] == 0


def test_a_read_that_comes_again_with_a_new_number_is_a_duplicate_and_leaves_no_gap() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0, 1), make_read(2, read=1, time_ns=TIME_NS + FRAME_NS), make_read(3)]) == [0, 1, 3]
    assert (order.counters["duplicates"], order.counters["lost"]) == (1, 0)


def test_a_number_that_was_used_already_is_a_duplicate() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0, 1, 2), make_read(1, read=77)]) == [0, 1, 2]
    assert order.counters["duplicates"] == 1


def test_incomplete_reads_are_dropped_and_are_no_loss() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0), *reads(1, complete=False), *reads(2)]) == [0, 2]
    assert (order.counters["incomplete"], order.counters["lost"]) == (1, 0)


def test_an_incomplete_read_may_be_sent_again() -> None:
    order = Resequencer(HOLD)
    again = make_read(2, read=1)
    assert push_all(order, [*reads(0), *reads(1, complete=False), again, make_read(3, read=2)]) == [0, 2, 3]
    assert order.counters["duplicates"] == 0


def test_a_publisher_that_begins_anew_is_followed() -> None:
    order = Resequencer(HOLD)
    later = {"exposure_id": "B", "time_ns": TIME_NS + 10**12}
    assert push_all(order, [*reads(40, 41, 43), *reads(0, 1, 2, **later)]) == [40, 41, 43, 0, 1, 2]
    assert (order.counters["restarts"], order.counters["lost"]) == (1, 1)


def test_a_restart_within_the_same_exposure_shows_in_the_time() -> None:
    order = Resequencer(HOLD)
    restarted = [make_read(number, time_ns=TIME_NS + 10**12 + number) for number in range(3)]
    assert push_all(order, [*reads(0, 1, 2), *restarted]) == [0, 1, 2, 0, 1, 2]
    assert order.counters["restarts"] == 1


def test_an_older_recording_played_after_the_live_stream_is_a_restart() -> None:
    order = Resequencer(HOLD)
    old = [make_read(number, exposure_id="OLD", time_ns=number) for number in range(3)]
    assert push_all(order, [*reads(5, 6, 7), *old]) == [5, 6, 7, 0, 1, 2]
    assert order.counters["restarts"] == 1


def test_a_restart_at_a_number_that_is_held_is_a_restart() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0, 2), *reads(2, exposure_id="B", time_ns=TIME_NS + 10**12)]) == [0, 2, 2]
    assert order.counters["restarts"] == 1


def test_a_leap_of_the_sequence_is_another_publisher_not_a_loss() -> None:
    order = Resequencer(HOLD)
    assert push_all(order, [*reads(0, 1), make_read(2**62, read=5, time_ns=TIME_NS), make_read(2)]) == [0, 1, 2**62, 2]
    assert order.counters["lost"] == 0
    assert order.counters["restarts"] == 2


def test_the_longest_gap_is_still_counted() -> None:
    order = Resequencer(HOLD)
    push_all(order, reads(0, MAX_GAP))
    assert (order.counters["lost"], order.counters["restarts"]) == (MAX_GAP - 1, 0)


def test_reset_forgets_the_publisher() -> None:
    order = Resequencer(HOLD)
    push_all(order, reads(0, 1, 2))
    order.reset()
    assert push_all(order, reads(0, 1, 2)) == [0, 1, 2]
    assert order.counters["duplicates"] == 0


@st.composite
def within_window(draw: st.DrawFn) -> list[int]:
    """Return 0..n, each number delayed so that at most HOLD others overtake it; 0 stays first."""
    count = draw(st.integers(1, 30))
    waiting, out = list(range(1, count)), [0]
    overtaken = dict.fromkeys(waiting, 0)
    while waiting:
        choices = [n for i, n in enumerate(waiting[: HOLD + 1]) if all(overtaken[m] < HOLD for m in waiting[:i])]
        chosen = draw(st.sampled_from(choices))
        for earlier in waiting[: waiting.index(chosen)]:
            overtaken[earlier] += 1
        waiting.remove(chosen)
        out.append(chosen)
    return out


@given(within_window())
def test_any_disorder_within_the_window_is_undone(sequences: list[int]) -> None:
    order = Resequencer(HOLD)
    assert push_all(order, reads(*sequences), flush=False) == sorted(sequences)
    assert order.counters["delivered"] == len(sequences)
    assert order.counters["lost"] == order.counters["late"] == order.counters["duplicates"] == 0


@given(st.lists(st.integers(1, 60), max_size=80))
def test_losses_and_duplicates_add_up_whatever_comes(sequences: list[int]) -> None:
    order = Resequencer(HOLD)
    delivered = push_all(order, [make_read(0), *reads(*sequences)])
    distinct = {0, *sequences}
    assert sorted(delivered) == sorted(distinct)  # one ramp: every late read is still wanted, each once
    assert order.counters["duplicates"] == len(sequences) + 1 - len(distinct)
    assert order.counters["lost"] == max(distinct) + 1 - len(distinct)
    assert order.counters["restarts"] == 0
    assert accounted(order) == len(sequences) + 1


anything = st.builds(
    lambda sequence, exposure, ramp, read, time_ns, complete: make_read(
        sequence, exposure_id=exposure, ramp=ramp, read=read, time_ns=time_ns, complete=complete
    ),
    st.integers(0, 12) | st.sampled_from([MAX_GAP, MAX_GAP + 6, 2**62]),
    st.sampled_from("AB"),
    st.integers(0, 1),
    st.integers(0, 4),
    st.integers(0, 8),
    st.booleans(),
)


@given(st.lists(anything, max_size=40), st.integers(0, 3))
def test_nothing_is_lost_silently(incoming: list[Read], hold: int) -> None:
    order = Resequencer(hold)
    delivered = push_all(order, incoming)
    assert accounted(order) == len(incoming)
    assert order.counters["delivered"] == len(delivered)
    assert all(count >= 0 for count in order.counters.values())
    assert 0 <= order.counters["late"] <= len(delivered)


@given(st.lists(anything, max_size=30))
def test_after_any_disorder_a_new_publisher_s_exposure_comes_out(incoming: list[Read]) -> None:
    order = Resequencer(HOLD)
    push_all(order, incoming, flush=False)
    fresh = [make_read(n, exposure_id="NEW", time_ns=TIME_NS + n) for n in range(2**62 - 5, 2**62)]
    out = push_all(order, fresh)
    assert out[-len(fresh) :] == [read.header.sequence for read in fresh]
