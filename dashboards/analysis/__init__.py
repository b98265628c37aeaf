"""What a person measures on the image: cuts, regions, stars, histograms, contours, surfaces.

All of it is worked out here on the frame's own pixels and sent to the page as numbers.
"""

from dashboards.analysis.measure import measure
from dashboards.analysis.tools import Box, Line, Place, Tools

__all__ = ["Box", "Line", "Place", "Tools", "measure"]
