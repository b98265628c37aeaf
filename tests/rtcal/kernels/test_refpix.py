"""Reference-pixel terms: exact on offsets put in, quiet on noise."""

import numpy as np
import pytest

from rtcal.errors import ShapeError
from rtcal.kernels.refpix import BAD_REFERENCE
from rtcal.steps import border_terms

BORDER, CHANNELS, SIDE = 4, 4, 256
WIDTH = SIDE // CHANNELS


def zero_level(seed=1):
    return np.random.default_rng(seed).integers(4000, 6000, (SIDE, SIDE)).astype("<u2")


def no_bad():
    return np.zeros((SIDE, SIDE), "u1")


def offsets(rows_dn=0.0):
    """Offsets of each channel and column parity, and a drift that goes linearly with the rows [DN]."""
    columns = np.zeros(SIDE)
    for channel in range(CHANNELS):
        for parity in range(2):
            columns[channel * WIDTH + parity : (channel + 1) * WIDTH : 2] = 10 * channel - 7 * parity
    return columns[None, :] + rows_dn * (np.arange(SIDE) - (SIDE - 1) / 2)[:, None] / SIDE


@pytest.mark.parametrize("dtype", ["<u2", "<f4"])
def test_offsets_of_channels_and_parities_are_found_exactly(dtype):
    zero = zero_level().astype(dtype)
    read = (zero.astype(float) + offsets()).astype(dtype)
    terms = border_terms(read, zero, no_bad(), BORDER, CHANNELS)
    np.testing.assert_array_equal(terms.column_dn, offsets()[0])
    np.testing.assert_array_equal(terms.row_dn, 0)


def test_a_linear_drift_along_the_rows_is_found_away_from_the_edges():
    zero = zero_level().astype("<f4")
    read = (zero + offsets(20.0)).astype("<f4")
    terms = border_terms(read, zero, no_bad(), BORDER, CHANNELS)
    left = read - zero - terms.column_dn - terms.row_dn[:, None]
    assert np.abs(left[5:-5]).max() < 0.05


def test_signal_on_the_light_sensitive_pixels_changes_nothing():
    zero = zero_level().astype("<f4")
    read = zero.copy()
    read[BORDER:-BORDER, BORDER:-BORDER] += 30_000
    terms = border_terms(read, zero, no_bad(), BORDER, CHANNELS)
    assert not terms.column_dn.any()
    assert not terms.row_dn.any()


def test_light_that_capacitance_puts_into_the_innermost_line_changes_nothing():
    zero = zero_level().astype("<f4")
    read = zero.copy()
    read[BORDER - 1 : SIDE - BORDER + 1, BORDER - 1 : SIDE - BORDER + 1] += 250
    terms = border_terms(read, zero, no_bad(), BORDER, CHANNELS)
    assert not terms.column_dn.any()
    assert not terms.row_dn.any()


def test_bad_reference_pixels_and_outliers_take_no_part():
    rng = np.random.default_rng(2)
    zero = zero_level().astype("<f4")
    read = zero + rng.normal(0, 3, zero.shape).astype("<f4")
    clean = border_terms(read, zero, no_bad(), BORDER, CHANNELS)
    read[1, 5] += 5000  # a cosmic ray, clipped
    bad = no_bad()
    bad[100:140, 0] = bad[2, 64:70] = BAD_REFERENCE
    read[bad > 0] += 20_000
    terms = border_terms(read, zero, bad, BORDER, CHANNELS)
    assert np.abs(terms.column_dn - clean.column_dn).max() < 0.2
    assert np.abs(terms.row_dn - clean.row_dn).max() < 2.0


def test_without_a_good_pixel_a_term_is_zero():
    zero = zero_level()
    read = zero + np.uint16(50)
    bad = no_bad()
    bad[:BORDER, :WIDTH] = bad[-BORDER:, :WIDTH] = BAD_REFERENCE
    terms = border_terms(read, zero, bad, BORDER, CHANNELS)
    assert not terms.column_dn[:WIDTH].any()
    assert (terms.column_dn[WIDTH:] == 50).all()


def test_the_terms_add_little_noise():
    """256 pixels for a channel's parity, 88 for a row: at most 1.5 % of a read's noise is added."""
    rng = np.random.default_rng(3)
    side, channels = 1024, 16
    zero = np.zeros((side, side), "<f4")
    read = rng.normal(0, 9, (side, side)).astype("<f4")
    terms = border_terms(read, zero, np.zeros((side, side), "u1"), BORDER, channels)
    inner = (slice(BORDER, -BORDER),) * 2
    corrected = read - terms.column_dn - terms.row_dn[:, None]
    assert corrected[inner].std() < 1.015 * read[inner].std()


def test_channels_must_fit_the_width():
    zero = zero_level()
    with pytest.raises(ShapeError, match="256 columns are no 48 channels"):
        border_terms(zero, zero, no_bad(), BORDER, 48)
