"""Telemetry on frames: what rules leave out and mark, what the frame and its file carry, the same however it came."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from msgspec.structs import replace

from refcache.references import OtherReference
from rtcal.errors import UsageError
from rtcal.joined import Monitor
from rtcal.pipeline import Pipeline
from rtcal.products import write_frame
from rtcal.reduce import Reducer
from rtcal.sky import HEADER_ALONE, NO_POINTING, STALE_POINTING_HEADER
from rtcal.telemetry import TelemetryHistory
from streams import wire
from streams.clock import NS
from streams.messages import Frame, Message, Read, Telemetry, TelemetryHeader
from streams.telemetry_keys import load_keys
from tests.fakes import READ_HEADER, FakeClock, FixedReferences, ListSource, ramp_reads, reference
from tests.fitsverify import verify
from tests.rigs import settings_with

SHAPE = (6, 8)
START_NS = READ_HEADER.time_ns
TABLE = load_keys("")
PLAIN = {"jump_sigma": 0.0, "reference_pixels": False}


def telemetry(event: str, at_s: float, /, **values: Any) -> Telemetry:
    header = TelemetryHeader(
        instrument="IRIS",
        detector="ALL",
        sequence=0,
        time_ns=START_NS + round(at_s * NS),
        event=event,
        values=values,
    )
    return Telemetry(header)


def line(n: int = 10) -> np.ndarray:
    """A ramp of 10 DN a read."""
    return (1000 + 10 * np.arange(n)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2")


def loop(at_s: float, state: str) -> Telemetry:
    return telemetry("NFIRAOS.rtc.loop", at_s, ho=state, lo="LOCK")


def seeing(at_s: float, r0: float) -> Telemetry:
    return telemetry("NFIRAOS.rtc.turbLgs", at_s, r0=r0)


@pytest.fixture
def reduce(bands, clock):  # type: ignore[no-untyped-def]
    """Reduce messages as the offline command does."""

    def run(messages: list[Message], *exclude: str, **tables: Any) -> list[Frame]:
        chosen = settings_with(**({"ramp": PLAIN} | tables))
        reducer = Reducer(chosen, FixedReferences(), bands, clock, exclude)
        return list(reducer.frames(ListSource(messages)))

    return run


def merged(reads: list[Read], events: list[Telemetry]) -> list[Message]:
    """In the order of time; a read comes when it is complete."""
    timed = [(read.header.time_ns + read.header.frame_time_ns, read) for read in reads]
    timed += [(event.header.time_ns, event) for event in events]  # type: ignore[misc]
    return [message for _, message in sorted(timed, key=lambda one: one[0])]


def test_reads_by_their_numbers_are_left_out(reduce):
    (frame,) = reduce(ramp_reads(line()), "reads 3,7-9")
    header = frame.header
    assert (header.reads_used, header.reads_excluded, header.reads_lost, header.reads_rejected) == (6, 4, 0, 0)
    assert header.complete
    assert header.final
    assert header.effective_s == 6.0
    np.testing.assert_allclose(frame.data, 20.0)
    assert header.notes[0] == "reads 3,7-9 of ramp 0 left out: reads 3,7-9"


def test_the_first_and_the_last_read_can_be_left_out(reduce):
    (frame,) = reduce(ramp_reads(line()), "reads 0,9")
    assert (frame.header.reads_used, frame.header.reads_excluded, frame.header.reads_lost) == (8, 2, 0)
    assert frame.header.complete
    np.testing.assert_allclose(frame.data, 20.0)


def test_every_ramp_keeps_its_own_account(reduce):
    reads = [
        read for ramp in range(3) for read in ramp_reads(line(), ramp=ramp, ramps_planned=3, first_sequence=10 * ramp)
    ]
    made = reduce(reads, "ramps 1 or reads 0 and ramps 2")
    last = made[-1].header
    assert (last.ramps, last.reads_used, last.reads_excluded, last.reads_lost) == (2, 19, 11, 0)
    assert not last.complete  # a whole ramp is missing
    assert last.final


def test_an_exposure_of_which_nothing_is_left_gives_no_frame(bands, clock):
    reducer = Reducer(settings_with(), FixedReferences(), bands, clock, ["reads 0-99"])
    after = ramp_reads(line(), exposure_id="E-2", first_sequence=10, ramps_planned=1)
    assert not list(reducer.frames(ListSource([*ramp_reads(line()), *after])))
    assert reducer.counters["exposures_excluded"] == 2
    assert reducer.counters["reads_excluded"] == 20


@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
def test_a_burst_of_bad_seeing_is_left_out_by_telemetry(reduce, mode):
    # Reads are a second apart; the middle of read n lies at n + 0.5.
    events = [seeing(-5.0, 0.15), seeing(3.2, 0.06), seeing(6.2, 0.15)]
    messages = merged(ramp_reads(line()), events)
    ramp = PLAIN | {"mode": mode, "reads_per_end": 2}
    (kept,) = reduce(messages, ramp=ramp)
    (cut,) = reduce(messages, "poor_seeing", ramp=ramp)
    bright = np.full(10, 10.0)
    bright[3:7] = 500.0  # of these steps, from read 2 to read 6, nothing may be left
    reads = ramp_reads((1000 + np.cumsum(bright)[:, None, None] * np.ones((1, *SHAPE))).astype("<u2"))
    (clean,) = reduce(merged(reads, events), "poor_seeing", ramp=ramp)
    np.testing.assert_allclose(clean.data, 20.0, rtol=1e-6)
    assert clean.header.effective_s == 5.0  # reads 0-2 and 6-9
    (samples,) = reduce(merged(reads, events), "reads 3-5", ramp=ramp)
    assert samples.header.effective_s == 9.0
    assert samples.data.mean() > 100  # the samples are left out, their light is in all that follow
    assert kept.header.reads_excluded == 0
    assert kept.header.notes[0] == "reads 3-5 of ramp 0 taken although: poor_seeing (LGSR0 < 0.08)"
    assert (cut.header.reads_used, cut.header.reads_excluded, cut.header.reads_lost) == (7, 3, 0)
    assert "reads 3-5 of ramp 0 left out: poor_seeing (LGSR0 < 0.08)" in cut.header.notes


def test_what_is_not_known_leaves_nothing_out(reduce):
    (frame,) = reduce(ramp_reads(line()), "loop_open", "poor_seeing")
    assert frame.header.reads_excluded == 0
    suspect = [seeing(-1.0, 0.01), loop(-1.0, "EXPLODED")]
    (frame,) = reduce(merged(ramp_reads(line()), suspect), "loop_open", "poor_seeing")
    assert frame.header.reads_excluded == 0


def test_telemetry_leaves_nothing_out_of_an_exposure_that_sees_no_sky(reduce):
    setup = {"SUBARRAY": "WINDOW", "READMODE": "UTR", "EXPTYPE": "DRK"}
    messages = merged(ramp_reads(line(), setup=setup), [loop(-1.0, "IDLE")])
    (frame,) = reduce(messages, "loop_open")
    assert frame.header.reads_excluded == 0
    (frame,) = reduce(messages, "loop_open", "reads 2")
    assert frame.header.reads_excluded == 1
    (frame,) = reduce(merged(ramp_reads(line()), [loop(-1.0, "IDLE"), loop(4.0, "LOCK")]), "loop_open")
    assert frame.header.reads_excluded == 4


def test_a_rule_of_the_configuration_holds_live(reduce):
    messages = merged(ramp_reads(line()), [loop(-1.0, "LOCK"), loop(4.1, "LOST"), loop(5.9, "LOCK")])
    (frame,) = reduce(messages, telemetry={"exclude": ["loop_open"]})
    assert frame.header.reads_excluded == 2
    with pytest.raises(UsageError, match="'SEEING' is no key"):
        reduce(messages, telemetry={"exclude": ["SEEING > 1"]})


def test_what_arrives_just_before_a_read_ends_is_not_looked_at(reduce):
    events = [loop(-1.0, "LOCK"), telemetry("NFIRAOS.rtc.loop", 4.9, ho="LOST", lo="LOCK", time=START_NS + 4 * NS)]
    events[1] = Telemetry(replace(events[1].header, units={"time": "tai_ns"}))
    # It says that the loop opened before read 4, but may as well have come after it.
    (frame,) = reduce(merged(ramp_reads(line()), events), "loop_open")
    assert frame.header.reads_excluded == 5
    assert frame.header.notes[0].startswith("reads 5-9 of ramp 0 left out")


def test_rows_at_the_middle_and_at_each_read(reduce):
    events = [telemetry("TCS.pk.currentPosition", 0.1 * step, ra=10.0 + 0.001 * step, dec=20.0) for step in range(120)]
    events += [telemetry("IRIS.imager.adc.PRISM_current", float(step), rotationA=1.0 * step) for step in range(12)]
    events += [telemetry("IRIS.ifs.detector.systemConf", 0.0, gain=3.0)]  # of another detector
    (frame,) = reduce(merged(ramp_reads(line()), events))
    middle = {row.fits: row for row in frame.header.telemetry if row.read is None}
    assert list(middle) == ["RA", "DEC", "ADCROTA"]
    # From the middle of the first read, 0.5 s, to that of the last, 9.5 s.
    assert middle["RA"].value == pytest.approx(10.05, abs=1e-9)
    assert (middle["RA"].status, middle["RA"].unit) == ("OK", "deg")
    per_read = [row for row in frame.header.telemetry if row.read is not None]
    assert [(row.fits, row.ramp, row.read) for row in per_read] == [("ADCROTA", 0, read) for read in range(10)]
    # Between two events a second apart; for the last read only what came in time.
    assert [row.value for row in per_read] == pytest.approx([*np.arange(0.5, 9.0), 9.0])


def test_gain_and_read_noise_of_telemetry_serve_where_the_header_is_silent(reduce):
    said = [
        telemetry("IRIS.imager.detector.systemConf", 0.0, gain=[4.0, 1.5, 1.5, 1.5], readNoise=[7.0, 1.0, 1.0, 1.0])
    ]
    (frame,) = reduce(merged(ramp_reads(line(), gain_e_per_dn=None, read_noise_e=None), said))
    assert (frame.header.gain_e_per_dn, frame.header.read_noise_e) == (4.0, 7.0)
    np.testing.assert_allclose(frame.data, 40.0)
    (frame,) = reduce(merged(ramp_reads(line()), said))
    assert (frame.header.gain_e_per_dn, frame.header.read_noise_e) == (2.0, 9.0)
    (frame,) = reduce(
        merged(ramp_reads(line(), gain_e_per_dn=None), [telemetry(said[0].header.event, 0.0, gain=[99.0])])
    )
    assert frame.header.gain_e_per_dn == 3.04  # out of its range: the configuration's


def test_header_and_telemetry_that_disagree_are_said(reduce):
    setup = {"SUBARRAY": "WINDOW", "FILTER": "Br_Gamma", "FILTWAVE": 2.166, "IFSSCALE": 25}
    same = [telemetry("IRIS.imager.filter.current", 5.0, name="BrGamma", wavelength=2.1661)]
    (frame,) = reduce(merged(ramp_reads(line(), setup=setup), same))
    assert frame.header.notes == [NO_POINTING]
    other = [telemetry("IRIS.imager.filter.current", 5.0, name="H", wavelength=1.633)]
    (frame,) = reduce(merged(ramp_reads(line(), setup=setup), other))
    assert frame.header.notes[:2] == [
        "FILTER: the header says Br_Gamma, telemetry H; the header was used",
        "FILTWAVE: the header says 2.166, telemetry 1.633; the header was used",
    ]


def test_a_frame_with_too_much_telemetry_still_travels(bands, clock):
    history = TelemetryHistory(TABLE, 3600.0)
    pipeline = Pipeline(
        Reducer(settings_with(), FixedReferences(), bands, clock)._settings,
        FixedReferences(),
        bands,
        clock,
        Monitor(settings_with(), history),
    )
    for key in TABLE.all():
        value: Any = {"real": 1.5, "integer": 2, "flag": True}.get(key.about.type, "x" * 1000)
        values = [value] * key.about.length if key.about.length > 1 else value
        history.take(telemetry(key.event, 0.0, **{key.parameter if key.parameter != "*" else "a": values}))
    reads = ramp_reads(line(400))
    assert len(history.known()) == len(TABLE.all())
    made = [one for read in reads for one in pipeline.process(read, preview=False)]
    frame = made[-1]
    assert isinstance(frame, Frame)
    assert 1500 < len(frame.header.telemetry) <= 2048
    parts = wire.encode(frame)
    assert len(parts[1]) < wire.MAX_SCALARS_BYTES / 1.3
    again = wire.decode(parts)
    assert isinstance(again, Frame)
    assert again.header == frame.header


def test_the_file_holds_table_and_cards(reduce, tmp_path: Path):
    events = [telemetry("TCS.pk.currentPosition", 0.1 * step, ra=10.0, dec=20.0, airmass=9.0) for step in range(120)]
    events += [
        telemetry("ESEN.puba.air-temperatures", -4.0, a=2.5),
        telemetry("TCS.cmIRIS.imgAtmDispersion", 4.0, wavelength=[1.5, 1.6], weight=[0.5, 0.5]),
        telemetry("IRIS.imager.filter.current", 5.0, name="H", dark=False),
        telemetry("IRIS.imager.detector.systemConf", 5.0, gain=[2.0, 2.1, 2.2, 2.3]),
        loop(-60.0, "LOCK"),
    ]
    setup = {"SUBARRAY": "WINDOW", "FILTER": "H"}
    (frame,) = reduce(merged(ramp_reads(line(), setup=setup), events))
    path = write_frame(frame, tmp_path)
    verify(path)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus][-2:] == ["TELEM", "DQ_DEF"]
        cards, table = hdus[0].header, hdus["TELEM"].data
        assert (cards["RA"], cards["DEC"], cards["FILTDRFL"]) == (10.0, 20.0, False)
        assert cards["AIRMASS"] == 9.0
        assert cards.comments["AIRMASS"] == "SUSPECT"
        assert cards["ENVTAIR"] == 2.5
        assert cards.comments["ENVTAIR"] == "[degC] STALE by 9.0 s"
        assert cards["AOLOOPHO"] == "LOCK"
        assert cards["IMGDISWV"] == "1.5 1.6"
        assert cards["GAIN"] == 2.0  # the frame's own: what was used
        assert cards["FILTER"] == "H"
        rows = {row["FITSKEY"]: row for row in table if row["READ"] == -1}
        assert float(rows["RA"]["VALUE"]) == rows["RA"]["NUMBER"] == 10.0
        assert (rows["GAIN"]["KEY"], rows["GAIN"]["PARAM"]) == ("IRIS.imager.detector.systemConf", "gain")
        assert rows["GAIN"]["NUMBER"] == 2.0  # of IMG1, the first of four
        assert rows["AOLOOPHO"]["STATUS"] == "AGE"
        assert rows["ENVTAIR"]["AGE"] == pytest.approx(9.0)
        assert sum(table["FITSKEY"] == "AOLOOPHO") == 11


def sky_events() -> list[Telemetry]:
    """The telescope at a zenith distance of 60 degrees, its prisms in the beam and a little off."""
    pointing = {"ra": 150.0, "dec": 2.0, "z": 60.0, "parallactic": 30.0}
    events = [telemetry("TCS.pk.currentPosition", 0.1 * step, **pointing) for step in range(110)]
    events += [telemetry("TCS.cmIRIS.positionAngle", 0.05 * step, positionAngle=25.0) for step in range(220)]
    events.append(telemetry("NFIRAOS.rtc.odgwImage", 2.0, size1=[1.25] * 4, size2=[1.25] * 4, rot=[0.0] * 4))
    for second in range(11):
        angles = {"rotationA": 230.0, "rotationB": 189.0, "error_rotationA": 0.0, "error_rotationB": -1.0}
        events.append(telemetry("IRIS.imager.adc.PRISM_current", float(second), **angles))
        events.append(telemetry("IRIS.imager.adc.RETRACT_position", float(second), discretePosition="IN"))
    return events


def test_world_coordinates_and_dispersion_in_the_file(reduce, tmp_path: Path):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    (frame,) = reduce(merged(ramp_reads(line(), setup=setup), sky_events()))
    path = write_frame(frame, tmp_path)
    verify(path)
    adc = frame.header.adc
    assert adc is not None
    with fits.open(path) as hdus:
        wcs = WCS(hdus["DATA"].header)
        reference = wcs.wcs.crpix - 1
        np.testing.assert_allclose(wcs.pixel_to_world_values(*reference), (150.0, 2.0), atol=1e-9)
        assert WCS(hdus["DQ"].header).wcs.compare(wcs.wcs)
        place = np.array([(8 + 1) / 2 + 0.5 * 8 * 1.073242, (8 + 1) / 2 - 0.5 * 8 * 1.073242])
        np.testing.assert_allclose(wcs.wcs.crpix - place, np.array(adc.shift_mas) / 4.0, atol=1e-9)
        cards, table = hdus[0].header, hdus["ADC"].data
        assert (cards["ADCSTAT"], cards["ADCAIR"], cards["ADCATMOS"]) == ("OK", "DEFAULT", "MODEL")
        assert cards["ADCATMAS"] == pytest.approx(48.6, abs=0.1)
        assert (cards["ADCGFWHM"], cards["ADCGELON"]) == (pytest.approx(4 * 2.3548 * 1.25, rel=1e-4), 0.0)
        assert (cards["ADCUNEXP"]) == pytest.approx(adc.elongation_mas, rel=1e-6)
        assert cards["ADCFOLER"] == adc.following_mas == pytest.approx(0.525, abs=0.01)  # 30.1 mas turned by a degree
        assert list(table["DX"]) == adc.x_mas
        assert list(table["WAVELENGTH"]) == pytest.approx(np.linspace(1.485, 1.781, 9))
    dark = merged(ramp_reads(line(), setup=setup | {"EXPTYPE": "DRK"}), sky_events())
    (frame,) = reduce(dark)
    assert frame.header.adc is None
    assert frame.header.wcs == {}


def test_the_prisms_of_a_reference_are_those_that_are_computed_with(bands, clock, tmp_path: Path):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    messages = merged(ramp_reads(line(), setup=setup), sky_events())

    def reduced_with(**references: Any) -> Frame:
        reducer = Reducer(settings_with(ramp=PLAIN), FixedReferences(**references), bands, clock)
        return next(iter(reducer.frames(ListSource(messages))))

    columns = [fits.Column("WAVELENGTH", "D", array=[1.0, 2.0]), fits.Column("DISP", "D", array=[0.0, 0.0])]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "adc.fits")
    flat = dataclasses.replace(
        reference(OtherReference, "adc.fits", np.zeros((0, 0), "u4")), path=tmp_path / "adc.fits"
    )
    without, with_flat = reduced_with(), reduced_with(adc=flat)
    assert without.header.adc is not None
    assert with_flat.header.adc is not None
    assert np.hypot(*without.header.adc.edge_mas or []) < 20
    assert np.hypot(*with_flat.header.adc.edge_mas or []) == pytest.approx(with_flat.header.adc.atmosphere_mas)
    broken = dataclasses.replace(flat, path=tmp_path / "none.fits")
    again = reduced_with(adc=broken).header
    assert again.adc == without.header.adc
    assert any(note.startswith("prisms: ") for note in again.notes)


def test_a_pointing_that_has_stopped_is_said(reduce):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    stopped = [event for event in sky_events() if event.header.time_ns < START_NS + NS]
    (frame,) = reduce(merged(ramp_reads(line(), setup=setup), stopped))
    assert frame.header.wcs["CRVAL1"] == 150.0
    assert "the pointing is stale: coordinates are from held values" in frame.header.notes
    assert frame.header.adc is not None
    assert frame.header.adc.status == "STALE"
    spectra = merged(ramp_reads(line(), setup=setup | {"INSTMODE": "SLICER"}), sky_events())
    (frame,) = reduce(spectra)
    assert frame.header.wcs == {}
    assert frame.header.adc is not None


def wcs_header(at_s: float, ra: float = 150.0, pixel: float = 12.5, **changes: Any) -> Telemetry:
    """The telescope's header, under the name that its interface gives the event; turned as `sky_events`."""
    scale, turn = 4.0 / 3.6e6, np.radians(25.0)
    values = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADECSYS": "ICRS", "CRVAL1": ra, "CRVAL2": 2.0}
    values |= {"CRPIX1": pixel, "CRPIX2": 0.25}
    values |= {"CD1_1": -scale * np.cos(turn), "CD1_2": scale * np.sin(turn)}
    values |= {"CD2_1": scale * np.sin(turn), "CD2_2": scale * np.cos(turn)}
    return telemetry("TCS.TCS PK Assembly.WCSFITSHeader", at_s, **(values | changes))


def test_the_telescope_s_header_gives_coordinates_where_the_pointing_agrees(reduce, tmp_path: Path):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    reads = ramp_reads(line(), setup=setup)
    agreeing = [wcs_header(float(second), pixel=8.9) for second in range(11)]
    (frame,) = reduce(merged(reads, sky_events() + agreeing))
    assert frame.header.wcs["WCSNAME"] == "TCS HEADER"
    assert frame.header.adc is not None
    shift = np.array(frame.header.adc.shift_mas) / 4.0
    path = write_frame(frame, tmp_path)
    verify(path)
    with fits.open(path) as hdus:
        wcs = WCS(hdus["DATA"].header)
        np.testing.assert_allclose(wcs.wcs.crpix - shift, (8.9, 0.25), atol=1e-9)
        assert hdus["DATA"].header["WCSNAME"] == "TCS HEADER"
        assert "CRPIX1" not in hdus[0].header
        assert hdus[0].header["WCSPX1"] == 8.9
    assert not [note for note in frame.header.notes if "WCS header" in note]


def test_a_header_that_disagrees_with_the_pointing_is_said_and_not_used(reduce):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    reads = ramp_reads(line(), setup=setup)
    off = [wcs_header(float(second), ra=150.0 + 5 / 3600 / np.cos(np.radians(2.0))) for second in range(11)]
    (frame,) = reduce(merged(reads, sky_events() + off))
    assert frame.header.wcs["CRVAL1"] == 150.0
    assert frame.header.wcs["WCSNAME"] == "POINTING, TCS HEADER DIFFERS"
    assert "the telescope's WCS header is not used: it differs from the pointing by 5.0 arcsec" in frame.header.notes
    assert [row.status for row in frame.header.references if row.reftype == "pointing"] == ["MISMATCH"]
    strange = [wcs_header(float(second), RADECSYS="GALACTIC") for second in range(11)]
    (frame,) = reduce(merged(reads, sky_events() + strange))
    assert frame.header.wcs["WCSNAME"] == "POINTING"
    assert "the telescope's WCS header is not used: its frame is GALACTIC, not ICRS or FK5" in frame.header.notes


def test_a_header_serves_where_the_pointing_is_missing_or_stale_and_a_stale_one_does_not(reduce):
    setup = {"SUBARRAY": "FULL", "FILTER": "H", "CHANNELS": 0}
    reads = ramp_reads(line(), setup=setup)
    headers = [wcs_header(float(second)) for second in range(11)]
    (frame,) = reduce(merged(reads, headers))
    assert frame.header.wcs["CRVAL1"] == 150.0
    assert HEADER_ALONE in frame.header.notes
    stopped = [event for event in sky_events() if event.header.time_ns < START_NS + NS]
    (frame,) = reduce(merged(reads, stopped + headers))
    assert frame.header.wcs["WCSNAME"] == "TCS HEADER"
    assert STALE_POINTING_HEADER in frame.header.notes
    (frame,) = reduce(merged(reads, sky_events() + headers[:1]))
    assert frame.header.wcs["WCSNAME"] == "POINTING"


def test_live_and_offline_give_the_same_frame(bands):
    """The daemon's history has heard more by the time that a worker comes to a read; it makes no difference."""
    events = [telemetry("TCS.pk.currentPosition", 0.05 * step, ra=10 + 0.01 * step) for step in range(-20, 400)]
    events += [seeing(-5.0, 0.15), seeing(3.2, 0.06), seeing(6.2, 0.15)]
    events += [loop(9.9, "LOCK"), loop(30.0, "LOST")]  # a key that came too late for this frame
    reads = ramp_reads(line())
    settings = settings_with(telemetry={"exclude": ["poor_seeing"]})
    offline = list(Reducer(settings, FixedReferences(), bands, FakeClock()).frames(ListSource(merged(reads, events))))
    ahead = [*events, *reads]
    live = list(Reducer(settings, FixedReferences(), bands, FakeClock()).frames(ListSource(ahead)))
    assert offline[0].header == live[0].header
    assert offline[0].header.reads_excluded == 3
    assert {row.fits for row in live[0].header.telemetry} == {"RA", "LGSR0"}
    np.testing.assert_array_equal(offline[0].data, live[0].data)
