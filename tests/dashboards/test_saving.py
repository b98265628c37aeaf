"""FITS of what is shown, and a real SAMP hub with a client that loads it."""

import io
import queue
import warnings
from typing import Any

import numpy as np
import pytest
from astropy import wcs
from astropy.io import fits
from msgspec.structs import replace

from dashboards.feed import Feed
from dashboards.saving import Samp, file_name, write_fits
from dashboards.settings import Budget
from streams.clock import SystemClock
from streams.messages import Cube
from tests.quicklook import make_cube, make_frame, make_preview, make_white

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated, but a hub that is not ours
    from astropy.samp import SAMPHubServer, SAMPIntegratedClient

WCS = {"WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}


def picture_of(message, view="reduced"):
    feed = Feed(SystemClock(), Budget(100 << 20, 5, 5), 1024)
    feed.take(message)
    return next(picture for (_, name), picture in feed.latest().pictures.items() if name == view)


def saved(picture):
    file = io.BytesIO()
    write_fits(picture, file)
    file.seek(0)
    return file


def test_a_frame_is_saved_with_its_errors_flags_and_coordinates():
    frame = make_frame("IMG1", 4, side=64, wcs=WCS, exposure_id='2026B/ü"x')
    picture = picture_of(frame)
    assert file_name(picture) == "2026B_x_IMG1_reduced.fits" or "/" not in file_name(picture)
    with fits.open(saved(picture)) as hdul:
        hdul.verify("exception")
        for name, plane in (("DATA", frame.data), ("ERR", frame.err), ("DQ", frame.dq)):
            np.testing.assert_array_equal(hdul[name].data, plane)
        assert hdul["DATA"].header["CRVAL1"] == 150.0
        assert hdul[0].header["DETECTOR"] == "IMG1"


def test_a_preview_is_saved_binned_and_a_cube_as_a_cube():
    preview = make_preview("IMG1", 4, side=64, binning=4)
    with fits.open(saved(picture_of(preview, "ramp"))) as hdul:
        assert hdul[0].header["BINNING"] == 4
        assert [hdu.name for hdu in hdul] == ["PRIMARY", "DATA"]
    cube = make_cube("IFS", 1, bins=9, field=(4, 5))
    with fits.open(saved(picture_of(cube))) as hdul:
        np.testing.assert_array_equal(hdul["DATA"].data, cube.data)
        assert hdul["DATA"].header["CRVAL3"] == pytest.approx(1.98)


@pytest.mark.parametrize("pointing", [None, (150.0, 30.0, 40.0)])
def test_a_cube_and_its_white_light_say_where_they_lie(pointing):
    made = make_cube("IFS", 1, bins=9, field=(4, 5))
    cube = Cube(replace(made.header, pointing_deg=pointing), made.data, made.err, made.dq)
    for message in (cube, make_white(cube)):
        with fits.open(saved(picture_of(message))) as hdul:
            hdul.verify("exception")
            world = wcs.WCS(hdul["DATA"].header)
        assert world.naxis == (3 if message is cube else 2)
        assert world.has_celestial == (pointing is not None)
        if pointing is not None:
            centre = world.celestial.pixel_to_world(2.0, 1.5)
            assert (centre.ra.deg, centre.dec.deg) == pytest.approx(pointing[:2])
            assert centre.position_angle(world.celestial.pixel_to_world(2.0, 2.5)).deg == pytest.approx(40, abs=1e-3)
        if message is cube:
            assert world.spectral.pixel_to_world(8).to_value("um") == pytest.approx(1.98 + 8 * 0.0036)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    lock = tmp_path / "samp"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{lock}")
    made = SAMPHubServer(lockfile=str(lock), web_profile=False)
    made.start()
    yield made
    made.stop()


@pytest.mark.usefixtures("hub")
def test_a_picture_reaches_a_client_of_a_real_hub():
    samp = Samp()
    picture = picture_of(make_frame("IMG1", 4, side=32))
    assert "no program" in samp.send(picture)["why"]
    received: queue.Queue[np.ndarray] = queue.Queue()

    def take(_key: Any, _sender: Any, _mtype: Any, params: dict[str, str], _extra: Any) -> None:
        received.put(fits.getdata(params["url"], "DATA"))

    viewer = SAMPIntegratedClient(name="viewer")
    viewer.connect()
    try:
        viewer.bind_receive_notification("image.load.fits", take)
        assert samp.send(picture) == {"ok": True, "to_whom": "viewer"}
        np.testing.assert_array_equal(received.get(timeout=20), picture.levels[0].data)
    finally:
        viewer.disconnect()
        samp.close()


def test_without_a_hub_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{tmp_path / 'none'}")
    samp = Samp()
    assert "no SAMP hub" in samp.send(picture_of(make_frame("IMG1", 4, side=32)))["why"]
    samp.close()
