"""Coefficients of linearity, brought to the one form that is used here.

Used: `y = sum c_k x^k`, ascending, x and y signals above the bias [DN]. IRIS's read-out software writes
`y = x (1 + c_0 + c_1 x + c_2 x^2 ...)` instead; a file says so by the card LINFORM.
"""

from pathlib import Path

import numpy as np

from refcache.errors import LayoutError
from refcache.fits_images import FitsImages, FloatImage
from refcache.reftypes import NO_LIN_CORR

FORMS = ("ASCENDING", "READOUT")


def ascending(path: Path, coefficients: FloatImage, form: object) -> FloatImage:
    """Return coefficients in ascending form.

    Parameters
    ----------
    path
        For the messages.
    coefficients
        Float32, (y, k, x), as the file has them.
    form
        Its LINFORM; None for ascending.

    Raises
    ------
    LayoutError
        If the form is not known, or there are too few coefficients for it.
    """
    stated = FORMS[0] if form is None else str(form).strip().upper()
    if stated not in FORMS:
        raise LayoutError(path, "LINFORM", f"is {form!r}; known are {' and '.join(FORMS)}")
    rows, count, columns = coefficients.shape
    if stated == "READOUT":
        longer = np.zeros((rows, count + 1, columns), np.float32)
        longer[:, 1:] = coefficients
        longer[:, 1] += 1
        return longer
    if count < 2:
        raise LayoutError(path, "COEFFS", "has one coefficient, a constant; c_0 and c_1 are the least")
    return coefficients


def mend_coefficients(path: Path, images: FitsImages) -> None:
    """Let pixels without a polynomial stay as they are: 0, 1, 0 ... and NO_LIN_CORR; in place.

    Raises
    ------
    LayoutError
        If no pixel has a polynomial.
    """
    bad = images.dq & NO_LIN_CORR != 0
    for rows in images.data_suspect:
        bad[rows] |= ~np.isfinite(images.data[rows]).all(axis=1)
    if bad.all():
        raise LayoutError(path, "COEFFS", "no pixel has a usable polynomial (finite); make or fetch it again")
    if not bad.any():
        return
    for k in range(images.data.shape[1]):
        images.data[:, k][bad] = k == 1
    images.dq[bad] |= NO_LIN_CORR
    images.notes.append(f"{int(bad.sum())} pixels without a polynomial are not made linear")


def valid_range(path: Path, limit: object) -> float:
    """Return LINMAX, the signal up to which the polynomials hold [DN above the bias]; infinity without one.

    Raises
    ------
    LayoutError
        If it is no number above 0.
    """
    if limit is None:
        return float("inf")
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise LayoutError(path, "LINMAX", f"is {limit!r}; it is a signal above the bias in DN, above 0")
    return float(limit)
