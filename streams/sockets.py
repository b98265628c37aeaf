"""What the sockets of sources and sinks have in common: opening them, and saying why that failed."""

import errno
import os

import zmq

from streams.errors import EndpointError

ZmqContext = zmq.Context[zmq.Socket[bytes]]
ZmqSocket = zmq.Socket[bytes]

KEEPALIVE_IDLE_S = 10
KEEPALIVE_PROBES = 3

_REMEDIES = {
    errno.EADDRINUSE: "is in use: stop the other program, or choose another endpoint in [streams]",
    errno.EADDRNOTAVAIL: "is no address of this machine: bind to 127.0.0.1 or to one of its own addresses",
    errno.ENODEV: "is no address of this machine: bind to 127.0.0.1 or to one of its own addresses",
    errno.EACCES: "may not be opened by this user: choose a port above 1023",
    errno.ENOENT: "lies in a folder that does not exist",
}


def watch_peer(socket: ZmqSocket) -> None:
    """Let TCP notice a peer whose machine died, so that ZeroMQ connects again when it is back."""
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, KEEPALIVE_IDLE_S)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE_PROBES)


def attach(socket: ZmqSocket, endpoint: str, bind: bool) -> str:
    """Bind or connect `socket` and return the endpoint with the port that the system chose.

    Raises
    ------
    EndpointError
        If that is not possible: names the endpoint and what would work. The socket is left open.
    """
    try:
        if bind:
            socket.bind(endpoint)
        else:
            socket.connect(endpoint)
    except zmq.ZMQError as error:
        number = error.errno or 0
        remedy = _REMEDIES.get(number, f"is no endpoint to {'bind' if bind else 'connect'} to ({os.strerror(number)})")
        form = "" if number in _REMEDIES else "; write it as tcp://127.0.0.1:5550"
        raise EndpointError(f"{endpoint} {remedy}{form}") from error
    chosen = socket.getsockopt(zmq.LAST_ENDPOINT)
    return chosen.rstrip(b"\0").decode() if isinstance(chosen, bytes) and chosen.strip(b"\0") else endpoint
