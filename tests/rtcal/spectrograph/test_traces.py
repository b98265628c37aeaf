"""Spectra found on a detector, and tables that say where they lie."""

import numpy as np
import pytest

from rtcal.spectrograph.traces import TraceError, cut_to_light, find_traces, from_columns


def arc_image(count=12, pitch=9.0, slope=0.006, bend=2e-6, shape=(128, 320), seed=1, lines=9):
    """Spectra as dots of light along curved traces, with hot pixels; return image and each centre's y(x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    image = rng.normal(0, 1.0, shape)
    centres = []
    for number in range(count):
        middle = 8 + pitch * number + 0.3 * np.sin(number)
        curve = middle + slope * np.arange(shape[1]) + bend * (np.arange(shape[1]) - shape[1] / 2) ** 2
        centres.append(curve)
        for place in rng.uniform(5, shape[1] - 5, lines):
            image += 300 * np.exp(-((x - place) ** 2 + (y - curve[x]) ** 2) / 2 / 0.9**2)
    for _ in range(25):
        image[rng.integers(0, shape[0]), rng.integers(0, shape[1])] += 4000.0
    return image, np.array(centres)


def isolated(image):
    from rtcal.kernels import extract

    mask = np.zeros(image.shape, bool)
    data = image.astype(np.float32)
    extract.find_isolated(data, np.ones_like(data), 3.0, 5.0, 0, image.shape[0], mask)
    return mask


@pytest.mark.parametrize("slope", [0.0, 0.006, -0.012])
def test_traces_of_an_arc_are_found_with_their_tilt(slope):
    image, centres = arc_image(slope=slope) if slope >= 0 else arc_image(slope=slope, count=11)
    if slope < 0:
        image, centres = np.roll(image, 8, axis=0), centres + 8
    traces = find_traces(image, ~isolated(image))
    assert len(traces) == len(centres)
    x = np.arange(image.shape[1])
    found = traces.y[:, :1] + traces.y[:, 1:2] * x + traces.y[:, 2:] * x**2
    assert np.abs(found - centres)[:, 30:-30].max() < 0.5
    assert np.median(np.abs(found - centres)) < 0.1
    assert traces.sigma[0] == pytest.approx(0.9, abs=0.15)
    traces.check(image.shape)


def test_a_dark_image_has_no_traces():
    with pytest.raises(TraceError, match="no spectrum stands out of the noise"):
        find_traces(np.random.default_rng(0).normal(0, 1, (64, 128)), np.ones((64, 128), bool))


def columns(count=3, **changed):
    base = {
        "ID": np.arange(count), "IX": np.arange(count), "IY": np.zeros(count), "X0": np.full(count, 10),
        "X1": np.full(count, 59), "Y0": 10.0 + 5 * np.arange(count), "Y1": np.full(count, 0.01),
        "Y2": np.zeros(count), "SIGMA": np.full(count, 0.8), "HEIGHT": np.full(count, 4.0),
    }  # fmt: skip
    return {**base, **changed}


def test_a_table_becomes_traces():
    traces = from_columns(columns())
    assert len(traces) == 3
    assert traces.length.tolist() == [50, 50, 50]
    np.testing.assert_allclose(traces.middle_y, 10 + 5 * np.arange(3) + 0.245)
    assert len(traces.select(np.array([True, False, True]))) == 2
    np.testing.assert_allclose(traces.shifted(1.5).y[:, 0], traces.y[:, 0] + 1.5)


def test_a_table_without_a_column_and_traces_off_the_detector_are_told():
    table = columns()
    del table["Y1"]
    with pytest.raises(TraceError, match="lacks y1; it needs id, ix, iy"):
        from_columns(table)
    traces = from_columns(columns())
    traces.check((40, 60))
    with pytest.raises(TraceError, match=r"1 of 3 traces run off the detector of 20 rows and 60 columns: 2; is the"):
        traces.check((20, 60))
    with pytest.raises(TraceError, match=r"3 of 3 traces run off"):
        traces.check((40, 59))


def test_traces_of_a_flat_are_cut_to_where_they_are_lit():
    traces = from_columns(columns(2, X0=np.zeros(2), X1=np.full(2, 199), Y1=np.full(2, 0.01), Y2=np.full(2, 1e-5)))
    flux = np.zeros((2, 200))
    flux[0, 20:90], flux[0, 110:180], flux[1, 5:150] = 10.0, 10.0, 8.0
    flux[1, 60] = np.nan
    cut = cut_to_light(traces, flux)
    assert cut.column.tolist() == [20, 110, 5]
    assert cut.length.tolist() == [70, 70, 145]
    x = 140
    whole = traces.y[0] @ (1, x, x * x)
    assert cut.y[1] @ (1, x - 110, (x - 110) ** 2) == pytest.approx(whole)
    with pytest.raises(TraceError, match="no trace of the flat is lit over 32 pixels"):
        cut_to_light(traces, np.zeros((2, 200)))
