"""From a click to an offset of the telescope: where the target is, how far it has to move, and what is refused.

Nothing is sent by a click: a proposal is made, a person confirms it.
"""

import math
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from dashboards.analysis.stars import locate
from dashboards.analysis.tools import Place
from dashboards.feed import Snapshot
from dashboards.scene import Scene, Tile
from dashboards.settings import TargetSettings
from streams.clock import Clock
from streams.messages import FrameHeader, Telemetry
from streams.optics import Optics
from streams.photometry import NoSource
from streams.targets import Offset, offset_message

STALE_PERIODS = 3
Method = Literal["centroid", "raw"]


class Refused(Exception):  # noqa: N818
    """A move that is not proposed; the text says why, for a person."""


@dataclass(frozen=True)
class Proposal:
    """A target and the offset that brings it to the reference point."""

    made_s: float
    offset: Offset

    @property
    def key(self) -> str:
        """Its name; a person confirms it by this."""
        return self.offset.request


@dataclass
class Pointing:
    """Makes proposals, and messages of those that are confirmed."""

    settings: TargetSettings
    optics: Optics
    clock: Clock
    _open: dict[str, Proposal] = field(default_factory=dict)
    _sent: int = 0

    def propose(self, snapshot: Snapshot, scene: Scene, x: float, y: float, *, centroid: bool) -> Proposal:
        """Work out the offset from a point of a scene to the middle of its detector.

        Raises
        ------
        Refused
            Off the field, beyond the limit, nothing to centre on, or an image that is not of now.
        """
        tile = scene.tile_at(x, y)
        if tile is None or tile.picture is None:
            raise Refused("there is no image at that place")
        self._check_fresh(snapshot, tile)
        method: Method = "raw"
        if centroid:
            try:
                x, y = locate(tile, x - tile.x0, y - tile.y0, Place(x=x, y=y, reach=8.0))
            except NoSource as error:
                raise Refused(f"{error}; take the raw position, or click nearer to the source") from error
            x, y, method = x + tile.x0, y + tile.y0, "centroid"
        proposal = self._offset(tile, x - tile.x0, y - tile.y0, method)
        while len(self._open) >= 64:
            self._open.pop(next(iter(self._open)))
        self._open[proposal.key] = proposal
        return proposal

    def _check_fresh(self, snapshot: Snapshot, tile: Tile) -> None:
        now_s = self.clock.monotonic_s()
        picture = tile.picture
        assert picture is not None
        shelf = snapshot.history.shelves.get((tile.detector, picture.view), ())
        # While the full pixels of the newest are on their way, pages may show the one before.
        now = shelf[-2:] if shelf and shelf[-1].expected else shelf[-1:]
        if all(one.number != picture.number for one in now) or tile.against is not None:
            raise Refused("a frame of the past is shown; go back to live first")
        status, heard_s = snapshot.status, snapshot.status_heard_s
        if status is not None and heard_s is not None and now_s - heard_s > STALE_PERIODS * status.period_s:
            raise Refused(f"the image is stale: no sign of the reducer for {now_s - heard_s:.0f} s")
        age_s = now_s - picture.published_s
        if age_s > self.settings.max_age_s:
            raise Refused(f"the image is {age_s:.0f} s old, more than {self.settings.max_age_s:.0f} s are not trusted")

    def _offset(self, tile: Tile, x: float, y: float, method: Method) -> Proposal:
        reference = (tile.width - 1) / 2, (tile.height - 1) / 2
        dx, dy = x - reference[0], y - reference[1]
        assert tile.picture is not None
        scale = (tile.picture.pixel_mas or self.optics.pixel_mas) / 1000
        length = math.hypot(dx, dy) * scale
        if length > self.settings.max_offset_arcsec:
            raise Refused(f"{length:.2f} arcsec are beyond the limit of {self.settings.max_offset_arcsec:g} arcsec")
        header = tile.picture.header
        east, north = _on_sky(header, dx, dy)
        offset = Offset(
            request=secrets.token_hex(8), detector=tile.detector, exposure_id=header.exposure_id,
            method=method, x=x, y=y, reference_x=reference[0],
            reference_y=reference[1], instrument_x_arcsec=dx * scale, instrument_y_arcsec=dy * scale,
            east_arcsec=east, north_arcsec=north,
        )  # fmt: skip
        return Proposal(self.clock.monotonic_s(), offset)

    def confirm(self, key: str) -> Telemetry:
        """Turn a proposal into the message that asks for the move; each only once.

        Raises
        ------
        Refused
            If it is not known (any more) or older than a minute.
        """
        proposal = self._open.pop(key, None)
        if proposal is None:
            raise Refused("this offset was sent already or is not known; choose the target anew")
        age_s = self.clock.monotonic_s() - proposal.made_s
        if age_s > self.settings.confirm_s:
            raise Refused(f"it was chosen {age_s:.0f} s ago; choose the target anew")
        self._sent += 1
        return offset_message(proposal.offset, self.clock.tai_ns(), self._sent - 1)


def _on_sky(header: object, dx: float, dy: float) -> tuple[float | None, float | None]:
    """Return east and north [arcsec] by the frame's world coordinates; None where it has none."""
    wcs = header.wcs if isinstance(header, FrameHeader) else {}
    try:
        matrix = [float(wcs[name]) for name in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
    except (KeyError, ValueError):
        return None, None
    return 3600 * (matrix[0] * dx + matrix[1] * dy), 3600 * (matrix[2] * dx + matrix[3] * dy)


def told(proposal: Proposal) -> dict[str, Any]:
    """Describe a proposal for the page."""
    return {"key": proposal.key, **msgspec.structs.asdict(proposal.offset)}
