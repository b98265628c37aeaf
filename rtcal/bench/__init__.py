"""How fast the kernels are, against copying the same bytes, against numpy, and against other packages."""

from rtcal.bench.cases import make_cases
from rtcal.bench.peers import Peer, measure_peers
from rtcal.bench.scene import Scene
from rtcal.bench.timing import Case, Timing, measure

__all__ = ["Case", "Peer", "Scene", "Timing", "make_cases", "measure", "measure_peers"]
