"""A ZeroMQ subscriber that reads a message while it arrives, part by part, into memory of the caller.

ZeroMQ's own library hands a message over when all of it is in memory that the library has taken: a frame of
235 MB beside the one that is being looked at. Who keeps less than what is sent, or has a place for it already, reads
the connection here: ZMTP 3.0 (rfc.zeromq.org/spec/23), mechanism NULL, socket type SUB, by TCP or a Unix socket.
"""

import select
import socket
import struct
import time

from streams.closing import Closing
from streams.errors import EndpointError, StreamsError
from streams.sockets import KEEPALIVE_IDLE_S, KEEPALIVE_PROBES

MAX_PART_BYTES = 1 << 28
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
PUBLISHERS = (b"PUB", b"XPUB")
MORE, LONG, COMMAND = 1, 2, 4
MAX_COMMAND_BYTES = 4096
STALL_S = 5.0
"""A peer that is silent for so long in the middle of a message is given up."""
RETRY_S = 0.2
SCRATCH_BYTES = 1 << 20


class Lost(StreamsError, OSError):  # noqa: N818
    """The connection has ended, or what came by it is not ZMTP; the next `wait` opens it anew."""


class Subscription(Closing):
    """One publisher's messages; connects by itself, and again when the publisher is back.

    Parameters
    ----------
    endpoint
        `tcp://HOST:PORT` or `ipc://PATH`.
    topic
        First bytes of the messages wanted; all by default.

    Raises
    ------
    EndpointError
        If the endpoint is neither.

    Notes
    -----
    One thread at a time. What the reader has not taken waits with the publisher, which drops beyond its own limit.
    """

    def __init__(self, endpoint: str, topic: bytes = b"") -> None:
        self.endpoint = endpoint
        self._address = _address(endpoint)
        self._subscribe = b"\x01" + topic
        self._socket: socket.socket | None = None
        self._retry_s = 0.0
        self._left = 0
        self._scratch = bytearray(SCRATCH_BYTES)

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` (longer while a connection is being opened) until something has come.

        Raises
        ------
        Lost
            If the connection could not be made to speak ZMTP.
        """
        connection = self._socket or self._open(timeout_s)
        if connection is None:
            return False
        readable, _, _ = select.select([connection], [], [], max(0.0, timeout_s))
        return bool(readable)

    def next_part(self) -> tuple[int, bool] | None:
        """Return the bytes of the next part, and whether another follows; None if only a command had come.

        Call it when the last part has been read to its end, or after `wait`.

        Raises
        ------
        Lost
            If the connection has ended.
        """
        flags = self._exactly(1)[0]
        length = struct.unpack(">Q", self._exactly(8))[0] if flags & LONG else self._exactly(1)[0]
        if flags & COMMAND:
            self._obey(length)
            return None
        if length > MAX_PART_BYTES:
            raise self._lost(f"a part of {length} bytes, at most {MAX_PART_BYTES} are taken")
        self._left = length
        return length, bool(flags & MORE)

    def read_into(self, target: memoryview) -> None:
        """Fill `target`, bytes, with the next ones of the part.

        Raises
        ------
        Lost
            If the connection has ended.
        """
        assert len(target) <= self._left, "beyond the end of the part"
        self._fill(target)
        self._left -= len(target)

    def read(self) -> bytes:
        """Return the rest of the part; it raises `Lost` as `read_into` does."""
        content = bytearray(self._left)
        self.read_into(memoryview(content))
        return bytes(content)

    def skip(self) -> None:
        """Pass over the rest of the part; it raises `Lost` as `read_into` does."""
        while self._left:
            self.read_into(memoryview(self._scratch)[: min(self._left, SCRATCH_BYTES)])

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self, timeout_s: float) -> socket.socket | None:
        """Connect and subscribe; None if nobody listens (yet)."""
        pause_s = self._retry_s - time.monotonic()
        if pause_s > 0:
            time.sleep(min(pause_s, timeout_s))
            if pause_s > timeout_s:
                return None
        self._retry_s = time.monotonic() + RETRY_S
        try:
            self._socket = _connected(self._address)
        except OSError:
            return None
        self._greet()
        return self._socket

    def _greet(self) -> None:
        """Agree with the publisher on the protocol, and subscribe."""
        self._send(GREETING)
        greeting = self._exactly(len(GREETING))
        if greeting[:1] != b"\xff" or greeting[9:10] != b"\x7f" or greeting[10] < 3:
            raise self._lost("what answers does not speak ZMTP 3")
        if greeting[12:32].rstrip(b"\0") != b"NULL":
            raise self._lost(f"the publisher wants the mechanism {greeting[12:32]!r}, this program has NULL")
        self._send(bytes((COMMAND, len(READY))) + READY)
        flags, length = self._exactly(2)
        if flags != COMMAND:
            raise self._lost("the publisher did not say READY")
        ready = self._exactly(length)
        if not ready.startswith(b"\x05READY") or not any(bytes((len(kind),)) + kind in ready for kind in PUBLISHERS):
            raise self._lost(f"a publisher was expected, found {ready!r}")
        self._send(bytes((0, len(self._subscribe))) + self._subscribe)

    def _obey(self, length: int) -> None:
        """Take a command: a PING is answered, any other passed over."""
        if length > MAX_COMMAND_BYTES:
            raise self._lost(f"a command of {length} bytes")
        command = self._exactly(length)
        if command.startswith(b"\x04PING"):
            pong = b"\x04PONG" + command[7:]  # beyond the time to live comes what is sent back
            self._send(bytes((COMMAND, len(pong))) + pong)

    def _exactly(self, count: int) -> bytes:
        content = bytearray(count)
        self._fill(memoryview(content))
        return bytes(content)

    def _fill(self, target: memoryview) -> None:
        assert self._socket is not None, "not connected"
        done = 0
        try:
            while done < len(target):
                count = self._socket.recv_into(target[done:], 0, socket.MSG_WAITALL)
                if count == 0:
                    raise self._lost("the publisher has gone")
                done += count
        except BlockingIOError as error:
            raise self._lost(f"nothing came for {STALL_S:g} s within a message") from error
        except OSError as error:
            if isinstance(error, Lost):
                raise
            raise self._lost(str(error)) from error

    def _send(self, content: bytes) -> None:
        assert self._socket is not None, "not connected"
        try:
            self._socket.sendall(content)
        except OSError as error:
            raise self._lost(str(error)) from error

    def _lost(self, why: str) -> Lost:
        self.close()
        self._left = 0
        return Lost(f"{self.endpoint}: {why}")


def _connected(address: str | tuple[str, int]) -> socket.socket:
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
    else:
        connection = socket.create_connection(address, STALL_S)
        _keep_alive(connection)
    _never_stall(connection)
    return connection


def _never_stall(connection: socket.socket) -> None:
    """Let the system end what takes too long: with a timeout of Python's a plane would come in hundreds of calls."""
    connection.settimeout(None)
    whole_s = int(STALL_S)
    limit = struct.pack("ll", whole_s, round((STALL_S - whole_s) * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _keep_alive(connection: socket.socket) -> None:
    """Let TCP notice a peer whose machine died."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _address(endpoint: str) -> str | tuple[str, int]:
    """Return path, or host and port."""
    scheme, _, rest = endpoint.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "ipc" and rest:
        return rest
    if scheme == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port) <= 65535:
        return host.strip("[]"), int(port)
    raise EndpointError(f"{endpoint} is no endpoint to connect to; write it as tcp://127.0.0.1:5550")
