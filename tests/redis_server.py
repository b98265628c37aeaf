"""Real Redis servers for tests: plain, and one with a sentinel, on ports that the system chose."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.data import need

WAIT_S = 30.0
"""Only stops a test that would hang."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server on a port of its own, nothing kept on disk; it can die and come back at the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        need(shutil.which("redis-server") is not None, "redis-server (apt-get install redis-server)")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", *self._options, "--port", str(self.port), "--bind", "127.0.0.1"]
        if "--sentinel" not in self._options:
            command += ["--save", "", "--appendonly", "no"]
        with (self._folder / f"redis-{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        until_s = time.monotonic() + WAIT_S
        while not self._answers():
            assert time.monotonic() < until_s, "redis-server did not start"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=WAIT_S)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_sentinel(folder: Path, master: RedisServer, name: str) -> Iterator[RedisServer]:
    """A sentinel that knows `master` by a name."""
    config = folder / "sentinel.conf"
    config.write_text(f"sentinel monitor {name} 127.0.0.1 {master.port} 1\n", encoding="utf-8")
    sentinel = RedisServer(folder, str(config), "--sentinel")
    sentinel.start()
    try:
        yield sentinel
    finally:
        sentinel.stop()
