"""What pixels have in common lent to each of them, as far as its own measurement is worth less.

The estimates of one output's pixels scatter by their noise, which is known, and by what really differs from pixel to
pixel, which is the rest. Each estimate is drawn towards the mean of all by the part that noise has in its
scatter (empirical Bayes; Efron and Morris 1973, J. Am. Stat. Assoc. 68, 117). What lies far off is left as it is.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_PIXELS = 100
FAR = 5.0
"""Beyond so many sigma of noise and true scatter together a pixel is a case of its own."""
ROUNDS = 3
TINY = 1e-9


def shrink(estimates: Floats, noise: Floats) -> Floats:
    """Draw estimates towards their mean.

    Parameters
    ----------
    estimates
        Of each pixel, (pixel, k); NaN for none.
    noise
        Their covariance, (pixel, k, k).

    Returns
    -------
    NDArray of float64
        (pixel, k); as given where there are fewer than 100 pixels to learn from.
    """
    known = np.isfinite(estimates).all(axis=1) & np.isfinite(noise).all(axis=(1, 2))
    if known.sum() < LEAST_PIXELS:
        return estimates
    values, own = estimates[known], noise[known]
    # In units of the typical noise, so that coefficients of any size are alike.
    root = np.linalg.cholesky(_typical(own))
    inverse = np.linalg.inv(root)
    values = values @ inverse.T
    own = inverse @ own @ inverse.T
    centre, true = _population(values, own)
    offset = values - centre
    distance = np.linalg.solve(true + own, offset[:, :, None])[:, :, 0]
    near = (offset * distance).sum(axis=1) <= FAR**2 + own.shape[1]
    values[near] = centre + distance[near] @ true.T
    out = estimates.copy()
    out[known] = values @ root.T
    return out


def _typical(noise: Floats) -> Floats:
    """Return the mean of covariances, those of much larger size left out; positive definite."""
    size = np.einsum("pjj->p", noise)
    mean = noise[size <= 2 * np.median(size)].mean(axis=0)
    return np.asarray(mean + TINY * np.diag(np.diag(mean)))


def _population(values: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Return the mean of the pixels and the covariance of what truly differs among them."""
    centre, spread = np.median(values, axis=0), 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)
    for _ in range(ROUNDS):
        kept = np.asarray((np.abs(values - centre) <= FAR * spread).all(axis=1))
        centre, spread = values[kept].mean(axis=0), values[kept].std(axis=0)
    scatter = np.atleast_2d(np.cov(values[kept], rowvar=False)) - own[kept].mean(axis=0)
    sizes, axes = np.linalg.eigh(scatter)
    return centre, (axes * np.maximum(sizes, 0)) @ axes.T
