"""A desk of the display for tests."""

from dashboards.alarms import Alarms, load_limits
from dashboards.desk import Desk
from dashboards.nightlog import NightLog
from dashboards.pointing import Pointing
from dashboards.settings import Settings
from streams.clock import Clock
from streams.sinks import PartsSink


def made_desk(
    settings: Settings, clock: Clock, targets: PartsSink | None = None, token: str = "", path: str = ""
) -> Desk:
    pointing = Pointing(settings.dashboard.target, settings.instrument_optics, clock)
    return Desk(Alarms(load_limits(None)), NightLog(path), pointing, targets, token)
