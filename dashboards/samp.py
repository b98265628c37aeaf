"""The few calls of SAMP 1.3 that it takes to hand a file to other programs: XML-RPC with the user's hub.

astropy.samp would do it, but it is deprecated; this is all of it that is needed.
"""

import http.client
import os
import time
import xmlrpc.client
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlparse

WAIT_S = 5.0
DELIVERY_S = 1.0
LOCK_PREFIX = "std-lockurl:"


class NoHub(Exception):  # noqa: N818
    """No hub runs for this user on this machine, or it does not answer."""


class _Transport(xmlrpc.client.Transport):
    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = WAIT_S
        return connection


class Hub:
    """A registration with the hub, for the time of a `with` block.

    Parameters
    ----------
    name
        What the other programs call us.

    Raises
    ------
    NoHub
        On entering, if there is none.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ""

    def __enter__(self) -> Self:
        facts = _lock_file()
        try:
            self._proxy = xmlrpc.client.ServerProxy(facts["samp.hub.xmlrpc.url"], _Transport())
            answer: Any = self._proxy.samp.hub.register(facts["samp.secret"])
            self._key = answer["samp.private-key"]
            self._proxy.samp.hub.declareMetadata(self._key, {"samp.name": self._name})
        except (KeyError, OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
            raise NoHub(str(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._proxy.samp.hub.unregister(self._key)
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return  # the hub has gone: so has the registration

    def who_takes(self, kind: str) -> list[str]:
        """Return the names of the programs that take a kind of message."""
        clients: Any = self._proxy.samp.hub.getSubscribedClients(self._key, kind)
        told: list[Any] = [self._proxy.samp.hub.getMetadata(self._key, client) for client in clients]
        return [str(one.get("samp.name", "a program")) for one in told]

    def tell_all(self, kind: str, parameters: dict[str, str]) -> None:
        """Send a message to all that take its kind; nobody's answer is waited for."""
        self._proxy.samp.hub.notifyAll(self._key, {"samp.mtype": kind, "samp.params": parameters})
        time.sleep(DELIVERY_S)  # hubs deliver on threads of their own, and forget what a sender that has left had sent


def _lock_file() -> dict[str, str]:
    """Read where the hub is: the file named by SAMP_HUB, else .samp in the home directory."""
    place = os.environ.get("SAMP_HUB", "")
    path = Path(unquote(urlparse(place.removeprefix(LOCK_PREFIX)).path)) if place else Path.home() / ".samp"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise NoHub(f"{path} cannot be read") from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
