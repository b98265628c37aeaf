"""Rendered messages: made once for all pages that want the same."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable


class Cache:
    """Rendered messages, bounded in bytes; one that is asked for while in the making is not made twice."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._bytes = 0
        self._ready: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._making: dict[tuple[object, ...], asyncio.Future[bytes]] = {}
        self.made = 0

    async def get(self, wanted: tuple[object, ...], make: Callable[[], asyncio.Future[bytes]]) -> bytes:
        """Return the message of a key, from `make` if it is new."""
        if wanted in self._ready:
            self._ready.move_to_end(wanted)
            return self._ready[wanted]
        if wanted not in self._making:
            self._making[wanted] = make()
            self._making[wanted].add_done_callback(lambda done: self._keep(wanted, done))
        return await asyncio.shield(self._making[wanted])

    def _keep(self, wanted: tuple[object, ...], done: asyncio.Future[bytes]) -> None:
        del self._making[wanted]
        if done.cancelled() or done.exception() is not None:
            return
        self.made += 1
        self._ready[wanted] = done.result()
        self._bytes += len(done.result())
        while self._bytes > self._limit and len(self._ready) > 1:
            self._bytes -= len(self._ready.popitem(last=False)[1])
