"""Kinds of flags that can be painted over an image, what is to be seen first at the top."""

from typing import Literal

from streams.dq import Dq

Kind = Literal["saturated", "jump", "persistence", "window", "dead", "hot", "unstable", "unusable", "reference"]

KINDS: dict[Kind, int] = {
    "saturated": int(Dq.SATURATED),
    "jump": int(Dq.JUMP_DET),
    "persistence": int(Dq.PERSISTENCE),
    "window": int(Dq.WINDOW),
    "dead": int(Dq.DEAD | Dq.LOW_QE | Dq.CROSS_BAD | Dq.CROSS_BAD_NEIGH),
    "hot": int(Dq.HOT | Dq.WARM),
    "unstable": int(Dq.TELEGRAPH | Dq.NONLINEAR | Dq.UNRELIABLE_SLOPE | Dq.UNRELIABLE_DARK | Dq.UNRELIABLE_FLAT),
    "unusable": int(Dq.DO_NOT_USE | Dq.OTHER_BAD_PIXEL),
    "reference": int(Dq.REFERENCE_PIXEL),
}

# Distinct for the common colour blindnesses (after Okabe and Ito), on grey and on the other maps.
COLOURS: dict[Kind, str] = {
    "saturated": "#d55e00",
    "jump": "#56b4e9",
    "persistence": "#cc79a7",
    "window": "#009e73",
    "dead": "#0072b2",
    "hot": "#e69f00",
    "unstable": "#f0e442",
    "unusable": "#b4446c",
    "reference": "#7a8794",
}
