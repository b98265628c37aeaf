"""What the display keeps of a reduced frame, and how it comes: read from the connection straight into its place.

A frame of 4096 x 4096 is 235 MB on the wire. Rate and error are kept as they are, flags in a byte a pixel, and
nobody here asks when a pixel saturated: 151 MB.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboards.flags import Flags, Packer
from dashboards.planes import Planes
from streams import wire
from streams.closing import Closing
from streams.errors import WireError
from streams.messages import Frame, FrameHeader, Message
from streams.sources import MAX_PARTS, count_rejected
from streams.zmtp import Lost, Subscription

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
"""Flags are packed by so many bytes at a time, which stay in the processor's cache."""
FRAME_PARTS = 2 + 2 * len(Frame.DTYPES)


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """Rate and its sigma [e-/s], float32, and flags, all (y, x), read-only."""

    header: FrameHeader
    data: NDArray[np.float32]
    err: NDArray[np.float32]
    dq: Flags | NDArray[np.uint32]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.data.nbytes + self.err.nbytes + self.dq.nbytes


def kept(frame: Frame) -> KeptFrame:
    """Return what is kept of a frame that has come as a message; its arrays are not copied but for the flags."""
    packer = Packer(np.empty(frame.dq.shape, np.uint8))
    packer.add(np.ascontiguousarray(frame.dq).reshape(-1))
    return KeptFrame(frame.header, frame.data, frame.err, packer.packed())


class FrameSource(Closing):
    """The daemon's frames, as `KeptFrame`; cubes come as they are.

    Parameters
    ----------
    endpoint
        Where frames are published.
    wanted
        Asked for each frame when its header has come; one that is not wanted is passed over.

    Raises
    ------
    EndpointError
        If the endpoint is none.
    """

    exhausted = False

    def __init__(self, endpoint: str, wanted: Callable[[FrameHeader], bool] = lambda _header: True) -> None:
        self.counters: Counter[str] = Counter()
        self._wanted = wanted
        self._planes = Planes()
        self._piece = np.empty(PIECE_BYTES // 4, np.uint32)
        self._link = Subscription(endpoint)

    def receive(self, timeout_s: float) -> Message | KeptFrame | None:
        """Wait at most `timeout_s` for a message to begin, and take it; None if none came or it cannot be believed."""
        try:
            return self._take() if self._link.wait(timeout_s) else None
        except Lost as error:
            self.counters["lost"] += 1
            log.info("%s", error)
            return None

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _take(self) -> Message | KeptFrame | None:
        first = self._link.next_part()
        if first is None:
            return None
        parts = _Parts(self._link, first[1])
        try:
            return self._decode(parts)
        except WireError as error:
            parts.skip()
            count_rejected(self.counters, parts.wrong_number() or error, self._link.endpoint)
            return None
        finally:
            self.counters["received"] += 1

    def _decode(self, parts: "_Parts") -> Message | KeptFrame | None:
        head = [parts.read()]
        if parts.more:
            head.append(parts.next())
        if len(head) < 2:
            raise WireError("parts", "a message is pairs of parts, found 1 part")
        header = wire.decode_header(memoryview(head[0]), memoryview(head[1]))
        if not isinstance(header, FrameHeader):
            return wire.decode([*head, *parts.rest()])
        if not self._wanted(header):
            parts.skip()
            return None
        planes: dict[str, NDArray[np.float32]] = {}
        flags: Flags | NDArray[np.uint32] | None = None
        shapes = set()
        for path, dtypes in Frame.DTYPES.items():
            before = memoryview(parts.next())
            nbytes = parts.begin()
            dtype, shape = wire.array_form(header.source, path, dtypes, 2, before, nbytes)
            shapes.add(size := (shape[0], shape[1]))
            if len(shapes) > 1:
                raise WireError("array", f"arrays of {header.source} differ in shape")
            if path == "dq":
                flags = self._read_flags(size)
            elif path == "saturated_from":
                self._link.skip()
            else:
                planes[path] = self._read_plane(size, dtype)
        if parts.more:
            raise WireError("parts", f"{header.source} needs {FRAME_PARTS} parts")
        assert flags is not None
        return KeptFrame(header, planes["data"], planes["err"], flags)

    def _read_plane(self, shape: tuple[int, int], dtype: str) -> NDArray[np.float32]:
        plane: NDArray[np.float32] = self._planes.take(shape, dtype)
        self._link.read_into(plane.data.cast("B"))
        plane.setflags(write=False)
        return plane

    def _read_flags(self, shape: tuple[int, int]) -> Flags | NDArray[np.uint32]:
        packer = Packer(self._planes.take(shape, np.uint8))
        left = shape[0] * shape[1]
        while left:
            piece = self._piece[: min(left, self._piece.size)]
            self._link.read_into(piece.data.cast("B"))
            packer.add(piece)
            left -= piece.size
        return packer.packed()


class _Parts:
    """The parts of one message, one after another; the first has begun."""

    def __init__(self, link: Subscription, more: bool) -> None:
        self._link = link
        self.more = more
        self._count = 1
        self._of_frame = False

    def begin(self) -> int:
        """Come to the next part and return its bytes, which are still to be read."""
        if not self.more:
            raise WireError("parts", f"the message has {self._count} parts, and another is needed")
        found = None
        while found is None:
            found = self._link.next_part()
        nbytes, self.more = found
        self._count += 1
        return nbytes

    def read(self) -> bytes:
        """Return the part that has begun."""
        return self._link.read()

    def next(self) -> bytes:
        """Return the next part."""
        self.begin()
        return self.read()

    def rest(self) -> Iterator[bytes]:
        """Return all further parts, as many as a message may have."""
        while self.more and self._count < MAX_PARTS:
            yield self.next()
        if self.more:
            raise WireError("parts", f"more than {MAX_PARTS} parts")

    def skip(self) -> None:
        """Pass over what is left of the message."""
        self._link.skip()
        while self.more:
            self.begin()
            self._link.skip()

    def wrong_number(self) -> WireError | None:
        """Return what is wrong with the number of parts, once all have passed: the cause of all that is odd besides."""
        if self._count % 2 or self._count > MAX_PARTS:
            return WireError("parts", f"a message is pairs of at most {MAX_PARTS} parts, found {self._count}")
        return None
