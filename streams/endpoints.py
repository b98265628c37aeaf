"""The table [streams]: which socket or ring is where, and what is spoken on it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from streams import array_1_0, wire
from streams.array_1_0 import Array10Settings
from streams.errors import EndpointError
from streams.merging import MergedSource
from streams.messages import Message
from streams.ring import RingSink, RingSource
from streams.ring_file import SCHEME
from streams.sinks import PartsSink, ZmqSink
from streams.sockets import ZmqContext
from streams.sources import Decode, PolledSource, ZmqSource

Endpoint = Annotated[str, Meta(min_length=1, pattern=r"^(tcp|ipc|inproc)://")]
ReadsEndpoint = Annotated[str, Meta(min_length=1, pattern=r"^((tcp|ipc|inproc)://|shm://[A-Za-z0-9_+-]{1,64}\Z)")]
HighWater = Annotated[int, Meta(ge=1, le=1_000_000)]


class StreamsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table [streams]; `config.toml` says what each key means."""

    reads: ReadsEndpoint | Annotated[list[ReadsEndpoint], Meta(min_length=1)]
    frames: Endpoint
    previews: Endpoint
    # Not Literal[""] in the union: msgspec 0.22 then crashes at the interpreter's end.
    telemetry: Annotated[str, Meta(pattern=r"^((tcp|ipc|inproc)://|\Z)")] | list[Endpoint]
    targets: Annotated[str, Meta(pattern=r"^((tcp|ipc|inproc)://|\Z)")]
    bind_reads: bool
    pattern: Literal["sub", "pull"]
    protocol: Literal["karabo", "array-1.0"]
    receive_high_water: HighWater
    telemetry_high_water: HighWater
    send_high_water: HighWater
    ring_mb: Annotated[int, Meta(ge=1, le=65536)]
    array_1_0: Array10Settings

    @property
    def reads_endpoints(self) -> list[str]:
        """The endpoints of the reads, as a list in any case."""
        return [self.reads] if isinstance(self.reads, str) else self.reads

    @property
    def decode(self) -> Decode:
        """What turns the parts of a read into a message, by `protocol`."""
        if self.protocol == "array-1.0":
            return partial(array_1_0.decode, settings=self.array_1_0)
        return wire.decode

    @property
    def decode_recorded(self) -> Decode:
        """What turns the parts of anything recorded into a message: events have one form, whatever the reads have."""
        return _either(self.decode) if self.protocol == "array-1.0" else wire.decode


def _either(decode: Decode) -> Decode:
    """Return what decodes JSON (`{`) with `decode`, msgpack with the wire's own form."""

    def decode_either(parts: Sequence[Any]) -> Message:
        first = memoryview(getattr(parts[0], "buffer", parts[0])).cast("B") if parts else memoryview(b"")
        return decode(parts) if bytes(first[:1]) == b"{" else wire.decode(parts)

    return decode_either


def open_reads(settings: StreamsSettings, zmq_context: ZmqContext | None = None) -> MergedSource:
    """Open the receiver's end of `reads` and of `telemetry`: reads and events."""
    with ExitStack() as stack:
        reads: list[PolledSource] = []
        for source in _reads_sources(settings, zmq_context):
            reads.append(stack.enter_context(source))
        high_water = settings.telemetry_high_water
        events = (
            ZmqSource(settings.telemetry, pattern="sub", bind=False, high_water=high_water, zmq_context=zmq_context)
            if settings.telemetry
            else None
        )
        stack.pop_all()
        return MergedSource(reads, events)


def _reads_sources(settings: StreamsSettings, zmq_context: ZmqContext | None) -> Iterator[PolledSource]:
    """Open the sources of reads, one after another: a socket for all endpoints of ZeroMQ, and each ring."""
    rings = [endpoint for endpoint in settings.reads_endpoints if endpoint.startswith(SCHEME)]
    sockets = [endpoint for endpoint in settings.reads_endpoints if endpoint not in rings]
    if sockets:
        yield ZmqSource(
            sockets,
            pattern=settings.pattern,
            bind=settings.bind_reads,
            high_water=settings.receive_high_water,
            decode=settings.decode,
            zmq_context=zmq_context,
        )
    for endpoint in rings:
        _check_ring_settings(settings, endpoint)
        yield RingSource(endpoint, decode=settings.decode)


def _check_ring_settings(settings: StreamsSettings, endpoint: str) -> None:
    """Refuse what a ring cannot do: its publisher makes it, and every reader gets every message."""
    if settings.bind_reads or settings.pattern != "sub":
        raise EndpointError(f'{endpoint}: a ring goes with pattern = "sub" and bind_reads = false in [streams]')


def open_telemetry_sink(settings: StreamsSettings, zmq_context: ZmqContext | None = None) -> ZmqSink:
    """Open the publisher's end of `telemetry` (of the first, if there are several), for the bridge or a simulator.

    Raises
    ------
    EndpointError
        If it cannot be bound, or the configuration has none.
    """
    if not settings.telemetry:
        raise EndpointError('[streams] telemetry = "": there is no endpoint to publish events at')
    endpoint = settings.telemetry if isinstance(settings.telemetry, str) else settings.telemetry[0]
    return ZmqSink(endpoint, pattern="pub", high_water=settings.telemetry_high_water, zmq_context=zmq_context)


def open_reads_sink(settings: StreamsSettings, wait_s: float = 0.0, zmq_context: ZmqContext | None = None) -> PartsSink:
    """Open the publisher's end of `reads` (of the first, if there are several), for a simulator or a replay.

    `wait_s` is the longest time that a send waits for a slow receiver (`ZmqSink`).
    """
    endpoint = settings.reads_endpoints[0]
    if endpoint.startswith(SCHEME):
        _check_ring_settings(settings, endpoint)
        return RingSink(endpoint, capacity=settings.ring_mb << 20, wait_s=wait_s)
    return ZmqSink(
        endpoint,
        pattern="pub" if settings.pattern == "sub" else "push",
        bind=not settings.bind_reads,
        high_water=settings.send_high_water,
        wait_s=wait_s,
        zmq_context=zmq_context,
    )
