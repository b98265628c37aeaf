"""The ARC reference on disk."""

import numpy as np
import pytest
from astropy.io import fits

from rtcal.errors import RtcalError
from rtcal.spectrograph.arc import solve
from rtcal.spectrograph.arcfile import read_arc, read_traces
from rtcal.spectrograph.arctables import paint, trace_table
from rtcal.spectrograph.arcwrite import write_arc
from rtcal.spectrograph.traces import from_columns
from streams.errors import StreamsError
from streams.fits_images import write_hdus
from tests.fitsverify import verify
from tests.rtcal.spectrograph.synthetic import Arc

HEADER = {
    "INSTRUME": "IRIS",
    "DETECTOR": "IFU",
    "GRATING": "H4000",
    "INSTMODE": "SLICER",
    "SCALE": 25,
    "OBJECT": "lamp",
}


def placed(count, size, column=4):
    return from_columns(
        {
            "id": 10 + np.arange(count), "ix": np.arange(count), "iy": np.zeros(count), "x0": np.full(count, column),
            "x1": np.full(count, column + size - 1), "y0": 6.0 + 6 * np.arange(count), "y1": np.full(count, 0.001),
            "y2": np.zeros(count), "sigma": np.full(count, 0.9), "height": np.full(count, 4.0),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory, settings):
    arc = Arc(count=5)
    arc.flux[3] = np.random.default_rng(0).normal(0, 1, arc.flux.shape[1])
    solution = solve([arc.spectra()], arc.lines, arc.off(), settings.arc)
    path = tmp_path_factory.mktemp("arc") / "arc.fits"
    traces = placed(5, arc.x.size)
    write_arc(
        path, solution, traces, (40, arc.x.size + 8), HEADER, ["Ar", "Ne"], "2031-01-15T06:00:00.5", ["from a test"]
    )
    return path, arc, solution, traces


def test_the_file_holds_all_that_an_arc_must(written):
    path, arc, solution, _ = written
    verify(path)
    with fits.open(path) as hdus:
        names = [hdu.name for hdu in hdus]
        assert names == ["PRIMARY", "DQ", "WAVE", "DLAM", "TRACEID", "PROFILE", "TRACES", "LINES", "LIST", "DQ_DEF"]
        assert hdus["WAVE"].data.dtype == ">f8"
        assert hdus["TRACEID"].data.dtype == ">i4"
        cards = hdus[0].header
        expected = {
            "REFTYPE": "ARC", "GRATING": "H4000", "INSTMODE": "SLICER", "SCALE": 25, "LAMPS": "Ar,Ne", "NTRACE": 5,
            "NGOOD": 4, "USEAFTER": "2031-01-15 06:00:00",
        }  # fmt: skip
        assert {key: cards[key] for key in expected} == expected
        assert "OBJECT" not in cards
        assert cards["RMSPX"] == pytest.approx(solution.rms_px)
        assert cards["RMSKMS"] == pytest.approx(solution.rms_km_s)
        wave, ident, dlam = hdus["WAVE"].data, hdus["TRACEID"].data, hdus["DLAM"].data
        x = np.arange(wave.shape[1])
        for row, trace in ((0, 10), (2, 12)):
            y = np.rint(6.0 + 6 * row + 0.001 * (x[4:-4] - 4)).astype(int)
            assert (ident[y, x[4:-4]] == trace).all()
            np.testing.assert_allclose(wave[y, x[4:-4]], arc.wavelengths(row), atol=0.1 * arc.step[0])
            np.testing.assert_allclose(dlam[y, x[4:-4]], np.gradient(arc.wavelengths(row)), rtol=2e-3)
        assert np.isnan(wave[ident == -1]).all()
        assert np.isnan(wave[ident == 13]).all()  # the trace without lines
        assert (hdus["DQ"].data[ident == 13] & (1 << 26) != 0).all()
        table = hdus["TRACES"].data
        assert [text.strip() for text in table["STATUS"]] == ["OK", "OK", "OK", "FAILED", "OK"]
        assert "usable lines" in table["REASON"][3]
        lines = hdus["LINES"].data
        used = lines["USED"]
        assert used.sum() == sum(trace.matched.count for trace in solution.traces if trace.matched)
        assert np.abs(lines["RESID"][used]).max() < 0.5
        assert set(lines["ELEMENT"][used]) == {"Ar", "Ne"}


def test_it_is_read_back(written):
    path, arc, _, traces = written
    back = read_arc(path)
    assert back.shape == (40, arc.x.size + 8)
    assert back.solved.tolist() == [True, True, True, False, True]
    np.testing.assert_array_equal(back.traces.y, traces.y)
    centres, edges = back.centres(), back.edges()
    np.testing.assert_allclose(centres[1], arc.wavelengths(1), atol=0.1 * arc.step[0])
    assert np.isnan(centres[3]).all()
    assert edges.shape == (5, arc.x.size + 1)
    np.testing.assert_allclose((edges[:3, :-1] + edges[:3, 1:]) / 2, centres[:3], atol=1e-6)


def test_traces_alone_are_a_table_of_their_own(tmp_path):
    traces = placed(4, 50)
    path = tmp_path / "traces.fits"
    write_hdus(path, fits.HDUList([fits.PrimaryHDU(), trace_table(traces)]))
    back = read_traces(path)
    for name, values in vars(traces).items():
        np.testing.assert_array_equal(getattr(back, name), values)


def test_the_nearer_trace_has_the_pixel():
    traces = placed(3, 20, column=0)
    ident = paint(traces.shifted(-0.4), (30, 20))
    assert (ident[:, 10][[5, 6, 11, 12]] == [10, 10, 11, 11]).all()
    assert ident[0, 0] == -1
    crowded = placed(3, 20, column=0)
    crowded = type(crowded)(**{**vars(crowded), "height": np.full(3, 40.0)})
    counts = np.unique(paint(crowded, (30, 20))[6:19], return_counts=True)[1]
    assert counts.size == 3


def test_what_is_no_arc_is_told(tmp_path):
    path = tmp_path / "other.fits"
    fits.PrimaryHDU(np.zeros((4, 4), np.float32)).writeto(path)
    with pytest.raises(RtcalError, match="no ARC reference: it lacks TRACES, TRACEID; make one with rtcal arc solve"):
        read_arc(path)
    with pytest.raises(RtcalError, match="no extension TRACES; found PRIMARY"):
        read_traces(path)
    with pytest.raises(StreamsError, match="cannot be read"):
        read_arc(tmp_path / "absent.fits")
