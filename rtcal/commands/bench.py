"""`rtcal bench`: how fast it is, on this machine."""

import json
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rtcal.bands import Bands
from rtcal.bench import Peer, Scene, Timing, make_cases, measure, measure_peers
from rtcal.commands.common import (
    ConfigOption,
    JsonOption,
    VerboseOption,
    console,
    load_settings,
    progress_bar,
    say,
    start_logging,
)
from rtcal.daemon import stop_on_signals
from rtcal.errors import RtcalError, UsageError
from rtcal.instrument import Plan, check_wire, run_instrument, summary
from streams.heap import keep_heap

bench = typer.Typer(help="Measure: the kernels, the whole instrument live, or the display.", no_args_is_help=True)

DETECTORS = ("IMG1", "IMG2", "IMG3", "IMG4", "IFS")
PEER_SIZE = 1024
PEERS = 4

SizeOption = Annotated[int, typer.Option(min=256, max=4096, help="Pixels on a side, a multiple of 64.")]


@bench.command("kernels")
def kernels(
    size: SizeOption = 4096,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of ours and of the copies.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often each case runs; the shortest counts.")] = 9,
    as_json: JsonOption = False,
) -> None:
    """Time each kernel against copying the bytes that it must move, against numpy, and against other packages.

    All cases run in turn, round after round, and the shortest time of each counts, so the ratios hold on a
    machine that others use too. It takes a minute and 5 GB at the full size.

    Examples:

        rtcal bench kernels

        rtcal bench kernels --size 2048 --threads 2 --json
    """
    if size % 64:
        raise UsageError(f"--size {size}: a multiple of 64, {size // 64 * 64} or {size // 64 * 64 + 64}")
    keep_heap()  # as the daemon does: a frame's memory is there already
    peer_side = min(size, PEER_SIZE)
    with Bands(threads) as bands, progress_bar() as progress:
        cases = make_cases(Scene(size), bands)
        task = progress.add_task(f"{size} x {size}", total=rounds * (len(cases) + PEERS))
        timings = measure(cases, size * size, rounds, bands, lambda: progress.advance(task))
        peers, missing = measure_peers(peer_side, rounds, bands, lambda: progress.advance(task))
    for line in missing:
        say(line)
    if as_json:
        about = {"size": size, "threads": threads, "rounds": rounds, "machine": machine()}
        write_json(about | kernel_report(timings, peers) | {"peers_size": peer_side, "missing": missing})
    else:
        out = Console(highlight=False)
        out.print(_kernel_table(timings))
        out.print(_peer_table(peers))


@bench.command("live")
def live(
    config: ConfigOption = None,
    detectors: Annotated[int, typer.Option(min=1, max=5, help="How many: IMG1 to IMG4, then the IFS.")] = 1,
    ifs: Annotated[bool, typer.Option("--ifs", help="The IFS is the first of them, and its cubes are timed.")] = False,
    size: SizeOption = 4096,
    seconds: Annotated[float, typer.Option(min=1, help="How long reads flow.")] = 60.0,
    speed: Annotated[float, typer.Option(min=0.01, help="1: a read each 0.72 s; N: N times faster.")] = 1.0,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Then find the highest rate without a lost read.")
    ] = False,
    pages: Annotated[int, typer.Option(min=0, max=1000, help="Pages that look at a display meanwhile.")] = 0,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run simulator and daemon as two processes, and measure losses, latency, CPU and memory of the daemon.

    The latency is from the moment a ramp's last read was sent to the moment its whole frame had arrived at a
    subscriber, by TCP both ways; the subscriber looks at no pixel. With `--pages` a display and its pages
    run beside them, and what they saw and took is told under `display`. Exit code 1: nothing came out.

    Examples:

        rtcal bench live --seconds 300

        rtcal bench live --detectors 5 --size 2048 --json

        rtcal bench live --detectors 5 --find-rate

        rtcal bench live --detectors 2 --ifs --config lenslet.toml

        rtcal bench live --seconds 300 --pages 10
    """
    start_logging(verbose)
    order = ("IFS", *DETECTORS[:-1]) if ifs else DETECTORS
    chosen = {"detectors": list(order[:detectors]), "size": size, "speed": speed, "exposures": 0}
    settings = load_settings(config, simulator=chosen)
    check_wire(settings.streams, "the benchmark")
    stop = threading.Event()
    stop_on_signals(stop)
    with tempfile.TemporaryDirectory(prefix="rtcal-bench-") as folder, console.status("running") as shown:
        plan = Plan(settings, config, seconds, None, find_rate, pages)
        result = run_instrument(plan, Path(folder), stop, say, shown.update)
    if as_json:
        about = {"detectors": chosen["detectors"], "size": size, "speed": speed, "machine": machine()}
        write_json(about | result)
    else:
        Console(highlight=False).print(live_table(result))
    say(summary(result))
    if not result["frames_published"]:
        raise RtcalError("no frame came out")


def machine() -> dict[str, Any]:
    """Say where this was measured: processor, cores, and the versions that matter."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    versions = {name: version(name) for name in ("numpy", "numba", "pyzmq")}
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def kernel_report(timings: Sequence[Timing], peers: Sequence[Peer]) -> dict[str, Any]:
    """Return the times as plain values."""
    return {
        "kernels": [
            {
                "name": one.name,
                "bytes_per_pixel": round(one.bytes_per_pixel, 2),
                "ms": round(one.ms, 3),
                "copy_ms": round(one.copy_ms, 3),
                "over_copy": round(one.over_copy, 3),
                "numpy_ms": None if one.numpy_ms is None else round(one.numpy_ms, 3),
                "faster_than_numpy": None if one.faster_than_numpy is None else round(one.faster_than_numpy, 2),
            }
            for one in timings
        ],
        "peers": [
            {
                "name": one.name,
                "ms_per_megapixel_read": round(one.ms, 3),
                "over_ours": round(one.ms / peers[0].ms, 2),
            }
            for one in peers
        ],
    }


def _kernel_table(timings: Sequence[Timing]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("kernel", no_wrap=True)
    for title in ("B/px", "ms", "ms / copy", "numpy ms", "numpy / ms"):
        table.add_column(title, justify="right")
    for one in timings:
        ratio = one.faster_than_numpy
        table.add_row(
            one.name,
            f"{one.bytes_per_pixel:.3g}",
            f"{one.ms:.1f}",
            f"{one.over_copy:.2f}",
            "-" if one.numpy_ms is None else f"{one.numpy_ms:.1f}",
            "-" if ratio is None else f"{ratio:.1f}",
        )
    return table


def _peer_table(peers: Sequence[Peer]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("a ramp of ten reads")
    for title in ("ms a megapixel and read", "times ours"):
        table.add_column(title, justify="right")
    for one in peers:
        table.add_row(one.name, f"{one.ms:.2f}", f"{one.ms / peers[0].ms:.1f}")
    return table


def live_table(result: dict[str, Any]) -> Table:
    """Lay out what was measured, a row each."""
    table = Table("measured", "value", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for key, value in result.items():
        if isinstance(value, dict):
            for name, part in value.items():
                table.add_row(f"{key} {name}", str(part))
        elif key == "attempts":
            for one in value:
                lost, rate = one["reads_lost"], one["bytes_per_s"] / 1e6
                table.add_row(f"at {one['speed']:g} x, {rate:.0f} MB/s", f"{lost} reads lost")
        elif key.endswith("_bytes_per_s") and value is not None:
            table.add_row(key.removesuffix("_bytes_per_s"), f"{value / 1e6:.0f} MB/s")
        elif key.endswith("_bytes") and value is not None:
            table.add_row(key.removesuffix("_bytes"), f"{value / 1e6:.0f} MB")
        else:
            table.add_row(key, str(value))
    return table


def write_json(result: dict[str, Any]) -> None:
    """Write what was measured to standard output."""
    json.dump(result, sys.stdout, indent=1)
    sys.stdout.write("\n")
