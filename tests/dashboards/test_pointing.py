"""Targets: the offset in the instrument and on the sky, what is refused, and one message for each confirmation."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from dashboards.desk import Acknowledge, Confirm, Propose, read_token
from dashboards.feed import Feed
from dashboards.scene import Layout, Moment, build
from dashboards.settings import Budget, Settings
from rtcal.wcs import POINTING, plane_keys, pointed_plane
from streams.errors import SettingsError
from streams.messages import TelemetryHeader
from streams.settings import load
from tests.desks import made_desk
from tests.fakes import FakeClock, ListSink
from tests.quicklook import make_frame, make_status
from tests.rigs import settings_with

SETTINGS = load(None, Settings)
LAYOUT = Layout((("IMG1",),), 0.1)
SIDE = 256
STAR = (150.3, 90.6)


class Targets(ListSink):
    listeners = 1

    def wait_for_receiver(self, _timeout_s):
        return self.listeners > 0


class Rig:
    def __init__(self, **header):
        self.clock = FakeClock(tai_ns=2 * 10**18)
        self.sink = Targets()
        self.desk = made_desk(SETTINGS, self.clock, self.sink)
        self.feed = Feed(self.clock, Budget(50 << 20, 10, 10), 256)
        y, x = np.mgrid[:SIDE, :SIDE]
        data = 30 + np.random.default_rng(1).normal(0, 1, (SIDE, SIDE))
        data += 2000 * np.exp(-((x - STAR[0]) ** 2 + (y - STAR[1]) ** 2) / 4)
        self.data = data
        plane = pointed_plane("IMG1", (SIDE, SIDE), {}, (150.0, 20.0, 35.0), settings_with().wcs, 4.0)
        assert plane is not None
        wcs = plane_keys(plane, POINTING, (0.0, 0.0))
        self.send(**({"wcs": wcs} | header))
        self.feed.take(make_status(1, period_s=1.0))

    def send(self, **header):
        self.feed.take(make_frame("IMG1", 1, data=self.data, published_ns=self.clock.tai_ns(), **header))

    def propose(self, x, y, centroid=True, moment=None):
        snapshot = self.feed.latest()
        scene = build(snapshot, LAYOUT, "IMG1", "reduced", moment or Moment())
        return self.desk.act(Propose(x=x, y=y, centroid=centroid), snapshot, scene)

    def confirm(self, key):
        return self.desk.act(Confirm(key=key), self.feed.latest(), None)


def test_a_click_is_centred_and_its_offset_is_that_of_the_sky():
    rig = Rig()
    found = rig.propose(STAR[0] + 2, STAR[1] - 2)
    assert (found["x"], found["y"]) == pytest.approx(STAR, abs=0.03)
    assert found["method"] == "centroid"
    middle = (SIDE - 1) / 2
    assert found["instrument_x_arcsec"] == pytest.approx((found["x"] - middle) * 0.004)
    wcs = WCS(fits.Header(dict(rig.feed.latest().pictures["IMG1", "reduced"].header.wcs)))
    there, here = wcs.pixel_to_world(found["x"], found["y"]), wcs.pixel_to_world(middle, middle)
    east, north = here.spherical_offsets_to(there)
    assert found["east_arcsec"] == pytest.approx(east.arcsec, abs=2e-5)
    assert found["north_arcsec"] == pytest.approx(north.arcsec, abs=2e-5)


def test_a_raw_position_is_taken_as_it_is_and_without_pointing_the_sky_is_not_known():
    found = Rig(wcs={}).propose(20.25, 30.5, centroid=False)
    assert (found["x"], found["y"], found["method"]) == (20.25, 30.5, "raw")
    assert (found["east_arcsec"], found["north_arcsec"]) == (None, None)


def test_a_confirmed_target_is_published_once():
    rig = Rig()
    key = rig.propose(*STAR)["key"]
    assert rig.sink.sent == []
    assert rig.confirm(key) == {"ok": True, "sent": True}
    (message,) = rig.sink.sent
    assert message.header.event == "IRIS.quicklook.targetOffset"
    assert message.header.values["x"] == pytest.approx(STAR[0], abs=0.03)
    assert message.header.units["east_arcsec"] == "arcsec"
    assert "sent already" in rig.confirm(key)["why"]
    assert len(rig.sink.sent) == 1


@pytest.mark.parametrize(
    ("x", "y", "centroid", "words"),
    [
        (-40.0, 10.0, False, "no image at that place"),
        (40.0, 200.0, True, "nothing stands out"),
    ],
)
def test_bogus_places_are_refused(x, y, centroid, words):
    assert words in Rig().propose(x, y, centroid)["why"]


def test_stale_past_and_far_images_are_refused():
    rig = Rig()
    rig.clock.advance(3.5)
    assert "stale" in rig.propose(*STAR)["why"]
    rig.feed.take(make_status(2, period_s=1000.0))
    rig.clock.advance(121.0)
    assert "s old" in rig.propose(*STAR)["why"]
    first = rig.feed.latest().pictures["IMG1", "reduced"].number
    rig.send()
    assert rig.propose(*STAR)["ok"]
    assert "past" in rig.propose(*STAR, moment=Moment(first))["why"]
    assert "past" in rig.propose(*STAR, moment=Moment(None, first))["why"]
    rig.desk.pointing.settings = type(SETTINGS.dashboard.target)(
        max_offset_arcsec=0.01, max_age_s=120.0, confirm_s=60.0
    )
    assert "beyond the limit" in rig.propose(*STAR)["why"]


def test_a_confirmation_that_comes_late_or_has_nowhere_to_go_is_refused():
    rig = Rig()
    key = rig.propose(*STAR)["key"]
    rig.clock.advance(61.0)
    assert "chosen 61 s ago" in rig.confirm(key)["why"]
    assert "not known" in rig.confirm("nonsense")["why"]
    rig = Rig()
    rig.sink.listeners = 0
    key = rig.propose(*STAR)["key"]
    assert "nobody takes targets" in rig.confirm(key)["why"]
    rig.sink.listeners = 1
    assert rig.confirm(key)["ok"]  # it was not used up
    rig.desk.targets = None
    assert "no endpoint" in rig.confirm(key)["why"]
    assert rig.desk.act(Acknowledge(alarm="none"), rig.feed.latest(), None) == {"ok": False}


def test_proposals_do_not_fill_the_memory():
    rig = Rig()
    keys = [rig.propose(*STAR, centroid=False)["key"] for _ in range(80)]
    assert "not known" in rig.confirm(keys[0])["why"]
    assert rig.confirm(keys[-1])["ok"]


def test_who_may_act():
    desk = made_desk(SETTINGS, FakeClock(), token="a long enough token")
    assert desk.may_act("127.0.0.1", forwarded=False)
    assert desk.may_act("::1", forwarded=False)
    assert not desk.may_act("127.0.0.1", forwarded=True)
    assert not desk.may_act("10.0.0.7", forwarded=False)
    assert not desk.may_act("nonsense", forwarded=False)
    assert desk.token_fits("a long enough token")
    assert not desk.token_fits("another")
    assert not made_desk(SETTINGS, FakeClock()).token_fits("")


def test_the_token_is_read_from_a_file(tmp_path):
    assert read_token("") == ""
    (tmp_path / "good").write_text("0123456789abcdef\n")
    assert read_token(str(tmp_path / "good")) == "0123456789abcdef"
    (tmp_path / "short").write_text("1234")
    with pytest.raises(SettingsError, match="at least 16"):
        read_token(str(tmp_path / "short"))
    with pytest.raises(SettingsError, match="none"):
        read_token(str(tmp_path / "none"))


def test_a_request_that_came_back_from_the_event_service_is_told():
    desk = made_desk(SETTINGS, FakeClock())
    before = desk.version

    def event(name, **values):
        return TelemetryHeader(instrument="IRIS", detector="ALL", sequence=0, time_ns=0, event=name, values=values)

    desk.hear(event("IRIS.rtcal.offsetRequest", request=7))
    desk.hear(event("SOMEBODY.rtcal.offsetRequest", request="a"))
    desk.hear(event("TCS.cmIRIS.positionAngle", request="a"))
    assert (desk.arrived, desk.version) == ((), before)
    for number in range(20):
        desk.hear(event("IRIS.rtcal.offsetRequest", request=str(number)))
    assert desk.arrived[-1] == "19"
    assert len(desk.arrived) == 8
    assert desk.version > before
