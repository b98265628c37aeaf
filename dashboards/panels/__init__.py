"""The parts of the page: the models of each, and the words that it is told."""

from dashboards.panels.probe import probe
from dashboards.panels.state import state

__all__ = ["probe", "state"]
