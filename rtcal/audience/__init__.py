"""A display with pages that look at it, and what to show them: what `rtcal bench` measures of a display."""

from rtcal.audience.measuring import Audience, measure_display

__all__ = ["Audience", "measure_display"]
