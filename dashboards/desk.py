"""What pages may do beyond looking: the log, alarms, targets; and who may do it.

Looking is free to whoever reaches the address. Acting takes a browser on this machine, or the token.
"""

import hmac
import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from dashboards.alarms import Alarms
from dashboards.feed import Snapshot
from dashboards.nightlog import NightLog
from dashboards.pointing import Pointing, Refused, told
from dashboards.quantities import UNITS
from dashboards.scene import Scene
from streams.errors import SettingsError
from streams.messages import FrameHeader, TelemetryHeader
from streams.sinks import PartsSink
from streams.targets import REQUEST

log = logging.getLogger(__name__)

LEAST_TOKEN = 16
MOST_ARRIVED = 7
Word = Annotated[str, Meta(max_length=200)]


class Login(Struct, frozen=True, forbid_unknown_fields=True, tag="login"):
    """The page gives the token."""

    token: Word


class Acknowledge(Struct, frozen=True, forbid_unknown_fields=True, tag="acknowledge"):
    """A person has seen an alarm."""

    alarm: Word


class Propose(Struct, frozen=True, forbid_unknown_fields=True, tag="propose"):
    """A person has clicked where the telescope shall point, in coordinates of the scene."""

    x: Annotated[float, Meta(ge=-1e6, le=1e6)]
    y: Annotated[float, Meta(ge=-1e6, le=1e6)]
    centroid: bool


class Confirm(Struct, frozen=True, forbid_unknown_fields=True, tag="confirm"):
    """A person wants the proposal sent."""

    key: Word


class Night(Struct, frozen=True, forbid_unknown_fields=True, tag="night"):
    """The page asks for rows of the log and for a chart."""

    search: Word
    quantity: Word
    detector: Word


class Send(Struct, frozen=True, forbid_unknown_fields=True, tag="samp"):
    """Send the picture of a number to other programs."""

    number: Annotated[int, Meta(ge=0, le=2**53)]


Action = Send | Login | Acknowledge | Propose | Confirm | Night


@dataclass
class Desk:
    """Shared by all pages.

    Parameters
    ----------
    alarms, night, pointing
        What acts.
    targets
        Where confirmed targets go; None: nowhere, and the page says so.
    token
        What unlocks acting from elsewhere; "" for nothing does.
    """

    alarms: Alarms
    night: NightLog
    pointing: Pointing
    targets: PartsSink | None
    token: str
    arrived: tuple[str, ...] = ()
    """Requests that have come back from the event service."""
    version: int = 0
    """Goes up with everything that pages should be told."""

    def take(self, header: FrameHeader) -> None:
        """Look at a frame that has come; called on the feed's thread."""
        self.night.add(header)
        self.alarms.watch(header)
        self.version += 1

    def may_act(self, remote_ip: str, forwarded: bool) -> bool:
        """Tell whether a page may act without a token: on this machine, and not by a proxy, which hides where it is."""
        try:
            return ipaddress.ip_address(remote_ip).is_loopback and not forwarded
        except ValueError:
            return False

    def token_fits(self, given: str) -> bool:
        """Compare a token in a time that tells nothing."""
        return bool(self.token) and hmac.compare_digest(given.encode(), self.token.encode())

    def act(self, action: Acknowledge | Propose | Confirm, snapshot: Snapshot, scene: Scene | None) -> dict[str, Any]:
        """Do what a page that may act asks for; the reply says what came of it."""
        try:
            match action:
                case Acknowledge(alarm=key):
                    self.version += 1
                    return {"ok": self.alarms.acknowledge(key, self.pointing.clock.tai_ns())}
                case Propose(x=x, y=y, centroid=centroid):
                    if scene is None:
                        raise Refused("there is no image yet")
                    return {"ok": True, **told(self.pointing.propose(snapshot, scene, x, y, centroid=centroid))}
                case Confirm(key=key):
                    return self._send(key)
        except Refused as refused:
            return {"ok": False, "why": str(refused)}

    def _send(self, key: str) -> dict[str, Any]:
        if self.targets is None:
            raise Refused("no endpoint for targets is configured ([streams] targets)")
        if not self.targets.wait_for_receiver(0.0):
            raise Refused("nobody takes targets; is `rtcal bridge csw --publish` running? It was not sent")
        message = self.pointing.confirm(key)
        if not self.targets.send(message):
            raise Refused("whoever takes the targets does not keep up: it was not sent")
        log.warning("target sent: %s", message.header.values)
        return {"ok": True, "sent": True}

    def hear(self, header: TelemetryHeader) -> None:
        """Note that the observatory's event service has told everybody of a request; called on the board's thread."""
        request = header.values.get("request")
        if header.event == f"{header.instrument}.{REQUEST}" and isinstance(request, str):
            self.arrived = (*self.arrived[-MOST_ARRIVED:], request)
            self.version += 1

    def close(self) -> None:
        """Close the log, and what targets are sent by."""
        self.night.close()
        if self.targets is not None:
            self.targets.close()

    def night_of(self, wish: Night) -> dict[str, Any]:
        """Answer a page's question to the log."""
        hidden = ("numbers", "telemetry", "time_ns")
        rows = [{name: row[name] for name in row if name not in hidden} for row in self.night.find(wish.search, 60)]
        return {
            "kind": "night",
            "rows": rows,
            "chart": self.night.series(wish.quantity, wish.detector),
            "quantities": list(UNITS.items()) + [(name, name) for name in self.night.telemetry_names()],
            "failed": self.night.failed,
        }


def read_token(path: str) -> str:
    """Read the token's file; "" for none.

    Raises
    ------
    SettingsError
        If the file cannot be read or the token is too short to be one.
    """
    if not path:
        return ""
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"dashboard.token_file: {path}: {error.strerror}") from error
    if len(token) < LEAST_TOKEN:
        raise SettingsError(f"dashboard.token_file: {path}: a token has at least {LEAST_TOKEN} characters")
    return token
