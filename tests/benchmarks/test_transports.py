"""Processor time of reads from one process to others, sender and receivers together: TCP, ipc, and the ring."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from streams.heap import keep_heap
from streams.ring import RingSink, RingSource
from streams.sinks import ZmqSink
from streams.sources import ZmqSource
from tests.rigs import WAIT_S, ring_endpoint
from tests.samples import make_read

SIDE = 4096
READS = 15  # of 32 MiB each round: half a GB


def receive(endpoint: str, told: Connection) -> None:
    """Receive rounds of reads until told to end; keep three as a pipeline does."""
    keep_heap()
    ring = endpoint.startswith("shm:")
    with RingSource(endpoint) if ring else ZmqSource(endpoint, pattern="sub", bind=False, high_water=200) as source:
        told.send("there")
        kept = []
        while not told.poll(0):
            read = source.receive(0.1)
            if read is not None:
                kept = [*kept, read][-3:]
                if read.header.sequence == READS - 1:
                    told.send("whole round")


def cpu_clock(pid: int) -> int:
    """Return the clock of a process's processor time (CPUCLOCK_SCHED of linux/posix-timers)."""
    return ((~pid) << 3) | 2


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("way", ["tcp", "ipc", "ring"])
def test_half_a_gb_of_reads(benchmark, tmp_path: Path, way: str, readers: int) -> None:
    keep_heap()
    planes = [np.random.default_rng(seed).integers(0, 65535, (SIDE, SIDE)).astype("<u2") for seed in range(3)]
    endpoint = {"tcp": "tcp://127.0.0.1:0", "ipc": f"ipc://{tmp_path}/reads", "ring": ring_endpoint()}[way]
    sink = (
        RingSink(endpoint, capacity=512 << 20, wait_s=WAIT_S)
        if way == "ring"
        else ZmqSink(endpoint, pattern="pub", high_water=20, wait_s=WAIT_S)
    )
    spawn = multiprocessing.get_context("spawn")
    with sink:
        pipes = [spawn.Pipe() for _ in range(readers)]
        processes = [spawn.Process(target=receive, args=(sink.endpoint, theirs), daemon=True) for _, theirs in pipes]
        for process in processes:
            process.start()
        for ours, _ in pipes:
            assert ours.recv() == "there"
        assert sink.wait_for_receiver(WAIT_S)
        time.sleep(1.0)  # until the others have subscribed, too
        clocks = [time.CLOCK_PROCESS_CPUTIME_ID, *(cpu_clock(process.pid) for process in processes)]

        def one_round() -> None:
            for number in range(READS):
                assert sink.send(make_read(number, data=planes[number % 3]))
            for ours, _ in pipes:
                assert ours.poll(WAIT_S)
                ours.recv()

        benchmark._timer = lambda: sum(time.clock_gettime(clock) for clock in clocks)
        benchmark.pedantic(one_round, rounds=4, warmup_rounds=2)
        for ours, _ in pipes:
            ours.send("end")
        for process in processes:
            process.join(WAIT_S)
