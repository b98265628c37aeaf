"""The spectrograph's products out of simulated reads, by the pipeline itself."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from refcache import ReferenceStore
from rtcal.bands import Bands
from rtcal.config import Settings
from rtcal.pipeline import Pipeline
from rtcal.reduce import Reducer, cube_stage, pipeline_settings
from streams import settings as settings_file
from streams.messages import AdcResidual, Cube, Frame, Preview, Read, Spectrum, TelemetryRow, White
from streams.simulator import Simulator, write_references
from streams.simulator.spectra import point_sources
from tests.fakes import FakeClock
from tests.rtcal.spectrograph.fields import field, write_true_arc

SIZE = 512
NOTHING = {"dark": "N/A", "badpix": "N/A", "sky": "N/A", "flat": "N/A"}


class Sending:
    """A source of the simulator's messages."""

    def __init__(self, simulator):
        self.exhausted = False
        self.counters = Counter()
        self._messages = simulator.messages()

    def receive(self, timeout_s):  # noqa: ARG002
        due = next(self._messages, None)
        self.exhausted = due is None
        return None if due is None else due[1]


def simulate(sequence=("science",), mode="slicer", **changes):
    settings, traces = field(mode, SIZE, sequence=list(sequence), exposures=len(sequence), reads_per_ramp=6, **changes)
    return Simulator(settings, FakeClock()), traces


def configured(arc=None, lensletscan=None, **spectrograph):
    given = {"arc": arc, "lensletscan": lensletscan}
    override = NOTHING | {reftype: str(path) for reftype, path in given.items() if path}
    return settings_file.load(None, Settings, {"refcache": {"override": override}, "spectrograph": spectrograph})


def products(simulator, settings):
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    store.preload()
    with Bands(2) as bands:
        reducer = Reducer(settings, store, bands, FakeClock())
        made = list(reducer.products(Sending(simulator)))
    return made, reducer.counters


@pytest.mark.parametrize("mode", ["slicer", "lenslet"])
def test_reads_become_spectrum_frame_and_cube(tmp_path, mode):
    simulator, traces = simulate(mode=mode)
    arc = write_true_arc(tmp_path / "arc.fits", traces, SIZE)
    made, counters = products(simulator, configured(arc))
    assert [type(one) for one in made] == [Spectrum, Frame, Cube]
    cube, spectrum = made[2], made[0]
    assert counters["cubes"] == 1
    assert cube.header.status == {"slicer": "OK", "lenslet": "APPROX"}[mode]
    assert cube.header.arc.name == "arc.fits"
    assert cube.header.arc.status in ("OK", "STALE")
    assert cube.header.field == traces.field
    assert cube.header.scale_mas == {"slicer": 25.0, "lenslet": 4.0}[mode]
    assert cube.header.sky == "spaxels"
    assert cube.data.shape == (cube.header.bins, *traces.field)
    star = point_sources(traces, simulator.settings)[0]
    assert abs(spectrum.header.aperture_y - star.y) < 0.5
    assert abs(spectrum.header.aperture_x - star.x) < 0.5
    assert np.nanmedian(spectrum.data) > 0.8 * star.flux_e_per_s
    assert abs(np.nanmedian(cube.data)) < 0.1 * star.flux_e_per_s


def test_a_preview_comes_first_and_a_provisional_cube_while_the_ramp_goes_on(tmp_path):
    simulator, traces = simulate()
    settings = configured(write_true_arc(tmp_path / "arc.fits", traces, SIZE), preview_every=3, preview_bins=20)
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    store.preload()
    with Bands(2) as bands:
        stage = cube_stage(settings, FakeClock())
        pipeline = Pipeline(pipeline_settings(settings), store, bands, FakeClock(), None, stage)
        made = [
            result
            for _, message in simulator.messages()
            if isinstance(message, Read)
            for result in pipeline.process(message)
        ]
    kinds = [type(one) for one in made if not isinstance(one, Preview)]
    assert kinds == [Cube, White, Spectrum, Frame, Cube]  # so far, and at the end
    so_far, whole = [one for one in made if isinstance(one, Cube)]
    assert (so_far.header.provisional, so_far.header.final, whole.header.provisional) == (True, False, False)
    assert so_far.header.bins <= 20
    assert so_far.header.binning == pytest.approx(so_far.header.wave_step_um / whole.header.wave_step_um, abs=0.01)
    (white,) = [one for one in made if isinstance(one, White)]
    ratio = np.nanmean(so_far.data, axis=0) / white.data
    assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.1)


def test_without_an_arc_the_frame_is_all(tmp_path):
    simulator, _ = simulate()
    made, counters = products(simulator, configured())
    assert [type(one) for one in made] == [Frame]
    assert counters["cubes_without_arc"] == 1
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 3000)
    made, counters = products(simulate()[0], configured(tmp_path / "broken.fits"))
    assert [type(one) for one in made] == [Frame]


def test_a_layout_serves_where_no_arc_fits_and_says_so(tmp_path):
    simulator, traces = simulate()
    layout = write_true_arc(tmp_path / "layout.fits", traces, SIZE, INSTMODE="SLICER")
    made, _ = products(simulator, configured(layout=str(layout)))
    cube = made[-1]
    assert cube.header.status == "UNRELIABLE"
    assert "nominal wavelengths of layout.fits" in cube.header.arc.note
    assert (cube.dq & (1 << 26) != 0).all()
    made, _ = products(simulate(mode="lenslet")[0], configured(layout=str(layout)))
    assert [type(one) for one in made] == [Frame]


def test_an_arc_of_another_detector_costs_the_cube_not_the_frame(tmp_path):
    simulator, _ = simulate()
    _, other = field("slicer", 1024)
    made, counters = products(simulator, configured(write_true_arc(tmp_path / "arc.fits", other, 1024)))
    assert isinstance(made[0], Frame)
    assert not any(isinstance(one, Cube) for one in made)
    assert counters["cubes"] == 0


def test_a_grating_that_has_moved_is_told_by_the_sky(tmp_path):
    simulator, traces = simulate()
    arc = tmp_path / "arc.fits"
    moved = type(traces)(**{**vars(traces), "start_um": traces.start_um + 0.6 * traces.step_um})
    write_true_arc(arc, moved, SIZE)
    made, counters = products(simulator, configured(arc))
    header = made[-1].header
    assert header.oh_offset_px == pytest.approx(0.6, abs=0.15)
    assert counters["oh_offset_warnings"] == 1
    assert any("has the grating moved?" in note for note in header.notes)


def test_the_sky_tells_it_too_where_the_frame_has_lost_its_own(tmp_path):
    simulator, traces = simulate()
    write_references(simulator, tmp_path / "refs")
    moved = type(traces)(**{**vars(traces), "start_um": traces.start_um + 0.6 * traces.step_um})
    arc = write_true_arc(tmp_path / "arc.fits", moved, SIZE)
    refcache = {"path": str(tmp_path / "refs"), "override": {"arc": str(arc)}}
    made, counters = products(simulator, settings_file.load(None, Settings, {"refcache": refcache}))
    header = made[-1].header
    assert header.sky == "frame"
    assert header.oh_offset_px == pytest.approx(0.6, abs=0.15)
    assert counters["oh_offset_warnings"] == 1


def test_a_sky_exposure_of_the_night_is_scaled_and_subtracted(tmp_path):
    simulator, traces = simulate(["sky", "science"])
    arc = write_true_arc(tmp_path / "arc.fits", traces, SIZE)
    made, _ = products(simulator, configured(arc, sky="exposure"))
    cubes = [one for one in made if isinstance(one, Cube)]
    assert [cube.header.sky for cube in cubes] == ["none", "exposure"]
    assert np.median(cubes[1].header.sky_scales) == pytest.approx(1.0, abs=0.05)
    assert all(0.7 < scale < 1.3 for scale in cubes[1].header.sky_scales)
    made, _ = products(simulate()[0], configured(arc, sky="exposure"))
    assert made[-1].header.sky == "spaxels"
    assert any("no sky exposure" in note for note in made[-1].header.notes)


def test_no_cube_of_arcs_darks_and_flats_nor_where_they_are_switched_off(tmp_path):
    simulator, traces = simulate(["arc", "dark", "flat"])
    arc = write_true_arc(tmp_path / "arc.fits", traces, SIZE)
    made, _ = products(simulator, configured(arc))
    assert [type(one) for one in made] == [Frame] * 3
    made, _ = products(simulate()[0], configured(arc, cubes=False))
    assert [type(one) for one in made] == [Frame]


def frame_and_references(folder):
    """Return a simulated frame of spectra, the references of its setup, which are its true arc, and the settings."""
    simulator, traces = simulate()
    settings = configured(write_true_arc(folder / "arc.fits", traces, SIZE))
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    store.preload()
    (frame,) = [one for one in products(simulator, configured())[0] if isinstance(one, Frame)]
    chosen = store.open(dict(frame.header.setup), frame.data.shape, "utr", frame.header.first_read_ns).select()
    return frame, chosen, settings


def test_products_say_where_the_telescope_points(tmp_path):
    frame, chosen, settings = frame_and_references(tmp_path)
    pointing = {"RA": 150.0, "DEC": 2.5, "PA": 40.0}
    rows = [TelemetryRow(key="TCS.x", param=key, fits=key, value=value, status="OK") for key, value in pointing.items()]
    for telemetry, expected in ((rows, (150.0, 2.5, 40.0)), (rows[:2], None)):
        header = msgspec.structs.replace(frame.header, telemetry=telemetry)
        told = Frame(header, *(getattr(frame, name) for name in Frame.DTYPES))
        made = list(cube_stage(settings, FakeClock()).products(told, chosen))
        assert [one.header.pointing_deg for one in made] == [expected] * 3


def test_the_corrector_s_residual_moves_slices(tmp_path):
    frame, chosen, settings = frame_and_references(tmp_path)
    curve = {"wavelength_um": [1.4, 1.9], "weight": [0.5, 0.5], "x_mas": [-30.0, 30.0], "y_mas": [0.0, 0.0]}
    adc = AdcResidual(status="OK", atmosphere="TCS", air="OK", **curve)
    moved_frame = Frame(msgspec.structs.replace(frame.header, adc=adc), *(getattr(frame, n) for n in Frame.DTYPES))
    plain = list(cube_stage(settings, FakeClock()).products(frame, chosen))[-1]
    moved = list(cube_stage(settings, FakeClock()).products(moved_frame, chosen))[-1]
    off = configured(tmp_path / "arc.fits", adc_shift=False)
    left = list(cube_stage(off, FakeClock()).products(moved_frame, chosen))[-1]
    assert (plain.header.adc_shift_max, left.header.adc_shift_max) == (None, None)
    np.testing.assert_array_equal(plain.data, left.data)
    # 60 mas over 0.5 um, of which the cube's band sees 0.3: +-0.7 spaxels of 25 mas.
    assert 0.5 < moved.header.adc_shift_max < 0.9
    assert not np.array_equal(plain.data, moved.data, equal_nan=True)
