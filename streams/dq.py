"""Data-quality bits of a pixel, uint32 (the IRIS document table, its open bits filled).

A pixel with DO_NOT_USE has no valid rate of its own; every other bit is information.
"""

from enum import IntFlag


class Dq(IntFlag):
    """The bits by name; `Dq(value)` lists the names set in a pixel."""

    DO_NOT_USE = 1 << 0
    SATURATED = 1 << 1
    JUMP_DET = 1 << 2
    OUTLIER_MID_TIME = 1 << 3
    OUTLIER = 1 << 4
    PERSISTENCE = 1 << 5
    AD_FLOOR = 1 << 6
    MISSING_READ = 1 << 7
    UNRELIABLE_ERROR = 1 << 8
    NON_SCIENCE = 1 << 9
    DEAD = 1 << 10
    HOT = 1 << 11
    WARM = 1 << 12
    LOW_QE = 1 << 13
    WINDOW = 1 << 14
    TELEGRAPH = 1 << 15
    NONLINEAR = 1 << 16
    BAD_REF_PIXEL = 1 << 17
    CROSS_BAD = 1 << 18
    CROSS_BAD_NEIGH = 1 << 19
    NO_LIN_CORR = 1 << 20
    NO_SAT_CHECK = 1 << 21
    UNRELIABLE_BIAS = 1 << 22
    UNRELIABLE_DARK = 1 << 23
    UNRELIABLE_SLOPE = 1 << 24
    UNRELIABLE_FLAT = 1 << 25
    UNRELIABLE_WS = 1 << 26
    LOW_INST_TRANS = 1 << 27
    TELLURIC = 1 << 28
    OH_LINE = 1 << 29
    OTHER_BAD_PIXEL = 1 << 30
    REFERENCE_PIXEL = 1 << 31


DESCRIPTIONS: dict[Dq, str] = {
    Dq.DO_NOT_USE: "no valid rate; exclude from any measurement",
    Dq.SATURATED: "saturated during the ramp; the rate uses the earlier reads",
    Dq.JUMP_DET: "a jump (cosmic ray) was found in the ramp",
    Dq.OUTLIER_MID_TIME: "outlier within the exposure in time",
    Dq.OUTLIER: "outlier among combined frames",
    Dq.PERSISTENCE: "may hold persistence of an earlier exposure",
    Dq.AD_FLOOR: "a raw value of 0 DN",
    Dq.MISSING_READ: "one or more reads of the ramp were lost or could not be used",
    Dq.UNRELIABLE_ERROR: "the error is not to be trusted",
    Dq.NON_SCIENCE: "not on the science field",
    Dq.DEAD: "dead",
    Dq.HOT: "hot",
    Dq.WARM: "warm",
    Dq.LOW_QE: "low quantum efficiency",
    Dq.WINDOW: "inside a guide window or subarray",
    Dq.TELEGRAPH: "random telegraph noise",
    Dq.NONLINEAR: "highly non-linear",
    Dq.BAD_REF_PIXEL: "a reference pixel that is not used",
    Dq.CROSS_BAD: "open pixel: its signal goes to its neighbours",
    Dq.CROSS_BAD_NEIGH: "neighbour of an open pixel",
    Dq.NO_LIN_CORR: "linearity was not corrected",
    Dq.NO_SAT_CHECK: "saturation was not checked",
    Dq.UNRELIABLE_BIAS: "bias has a large variance",
    Dq.UNRELIABLE_DARK: "dark has a large variance",
    Dq.UNRELIABLE_SLOPE: "slope has a large variance",
    Dq.UNRELIABLE_FLAT: "flat is not to be trusted; 1 was used",
    Dq.UNRELIABLE_WS: "wavelengths are not to be trusted",
    Dq.LOW_INST_TRANS: "low instrument transmission",
    Dq.TELLURIC: "strong telluric absorption",
    Dq.OH_LINE: "strong OH line",
    Dq.OTHER_BAD_PIXEL: "bad for another reason",
    Dq.REFERENCE_PIXEL: "a reference pixel, insensitive to light",
}


def names(value: int) -> list[str]:
    """Return the names of the bits set in a pixel's value, lowest bit first."""
    return [str(bit.name) for bit in Dq if value & bit]
