"""Measured profiles against the truth, and cubes made with them against cubes made with the arc's."""

import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import norm

from refcache import ReferenceStore
from rtcal.errors import RtcalError, UsageError
from rtcal.products import write_frame
from rtcal.reduce import cube_stage
from rtcal.spectrograph.cube import CubeMaker, white_light
from rtcal.spectrograph.lensletscan import LensletScan, measure, read_scan
from streams.messages import Cube, Frame
from streams.simulator.kernels import WING_SHIFT, WING_WIDTH
from streams.simulator.settings import SCAN_STEPS
from streams.simulator.spectra import spectra_light
from tests.fakes import FakeClock
from tests.rtcal.spectrograph.fields import field, table_of, true_arc, write_true_arc
from tests.rtcal.spectrograph.test_cube import star_image
from tests.rtcal.spectrograph.test_stage import SIZE, configured, products, simulate

WINGS = 0.15


def scan_planes(settings, traces, noise=3.0):
    rng = np.random.default_rng(5)
    planes = []
    for step in range(SCAN_STEPS):
        image = spectra_light(traces, settings, "scan", step)
        sigma = np.sqrt(image / 5 + noise**2)
        data = image + sigma * rng.normal(0, 1, image.shape)
        planes.append((data.astype("f4"), sigma.astype("f4"), np.zeros(image.shape, "u4")))
    return planes


@pytest.fixture(scope="module", params=["lenslet", "lenslet_16"])
def scanned(request):
    settings, traces = field(request.param, 512, lenslet_wings=WINGS)
    measured, source = measure(scan_planes(settings, traces), table_of(traces))
    return settings, traces, measured, source


def true_share(centre, rows, sigma):
    def part(middle, width):
        return norm.cdf(rows + 0.5, middle, width) - norm.cdf(rows - 0.5, middle, width)

    return (1 - WINGS) * part(centre, sigma) + WINGS * part(centre + WING_SHIFT * sigma, WING_WIDTH * sigma)


def test_every_spectrum_is_found_in_its_exposure_and_its_profile_is_the_true_one(scanned):
    _, traces, measured, source = scanned
    assert (source == np.arange(traces.ix.size) % SCAN_STEPS).all()
    rows = np.arange(measured.share.shape[2])
    for index in (0, 7, traces.ix.size - 1):
        for t in (0, 20, traces.length_px - 1):
            centre = traces.y0_px[index] + traces.tilt * t
            true = true_share(centre, measured.first[index, t] + rows, traces.sigma_px)
            tolerance = 0.02 if 15 <= t < traces.length_px - 16 else 0.08  # fewer columns at the ends
            np.testing.assert_allclose(measured.share[index, t], true / true.sum(), atol=tolerance)
    whole = measured.share.sum(axis=2)[measured.first >= 0]
    np.testing.assert_allclose(whole, 1, rtol=1e-5)


def test_a_cube_made_with_the_scan_has_the_right_fluxes_where_the_arc_s_profiles_have_not(scanned):
    _, traces, measured, _ = scanned
    arc = true_arc(traces, 512)
    scan = LensletScan("scan.fits", table_of(traces), measured)
    ny, nx = traces.field
    image = star_image(traces, 512, ny / 2, nx / 2, 1000.0, wings=WINGS)
    planes = image, np.full(image.shape, 1.0, np.float32), np.zeros(image.shape, np.uint32)
    truth = np.exp(-((traces.ix - nx / 2) ** 2 + (traces.iy - ny / 2) ** 2) / 2 / 1.3**2) * 1000 / (2 * np.pi * 1.3**2)
    truth_image = np.full(traces.field, np.nan)
    truth_image[traces.iy, traces.ix] = truth
    errors = {}
    for name, with_scan in (("arc", None), ("scan", scan)):
        maker = CubeMaker(arc, scan=with_scan)
        assert maker.measured == (with_scan is not None)
        white, _ = white_light(maker.make(*planes))
        errors[name] = np.nansum(white) / truth.sum() - 1, np.nanmax(np.abs(white - truth_image)) / truth.max()
    assert abs(errors["scan"][0]) < 0.003
    assert errors["scan"][1] < 0.003
    assert errors["arc"][1] > 0.02
    assert errors["arc"][1] > 8 * errors["scan"][1]


def test_noise_is_as_said_and_does_not_bias_faint_spectra(scanned):
    _, traces, measured, _ = scanned
    scan = LensletScan("scan.fits", table_of(traces), measured)
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 4, (512, 512)).astype("f4")
    maker = CubeMaker(true_arc(traces, 512), scan=scan, threads=2)
    maker.extract(noise, np.full(noise.shape, 4.0, np.float32), np.zeros(noise.shape, np.uint32))
    maker.finish()
    flux, sigma = maker.profiles.flux, np.sqrt(maker.profiles.variance)
    pull = (flux / sigma)[np.isfinite(flux)]
    assert abs(pull.mean()) < 5 / np.sqrt(pull.size) + 0.01
    assert 0.95 < pull.std() < 1.2  # the variance leaves out what separation adds


def test_an_even_flat_is_no_scan(scanned):
    settings, traces, _, _ = scanned
    total = sum(spectra_light(traces, settings, "scan", step) for step in range(SCAN_STEPS))
    plane = total, np.ones_like(total), np.zeros(total.shape, np.uint32)
    with pytest.raises(UsageError, match="no spectrum stands alone in any of the 2 exposures"):
        measure([plane, plane], table_of(traces))


def test_spectra_that_have_moved_or_are_others_do_not_take_the_scan(scanned):
    _, traces, measured, source = scanned
    table = table_of(traces)
    scan = LensletScan("scan.fits", table, measured)
    none, why = scan.of(table.shifted(0.8))
    assert none is None
    assert "lie +0.80 px from where they were in the scan" in why
    keep = np.arange(len(table)) % 2 == 0
    other = LensletScan("half.fits", table.select(keep), type(measured)(measured.first[keep], measured.share[keep]))
    found, note = other.of(table)
    assert (found.first[~keep] == -1).all()
    assert f"{(~keep).sum()} of {len(table)} spectra were not measured" in note
    strange = type(table)(**{**vars(table), "ident": table.ident + 10_000})
    assert scan.of(strange)[0] is None
    assert source.size == len(table)


def test_from_the_scan_s_exposures_to_cubes_of_status_ok(command, tmp_path):
    simulator, traces = simulate(["scan"] * SCAN_STEPS + ["science"], "lenslet", lenslet_wings=WINGS, seed=4)
    arc = write_true_arc(tmp_path / "arc.fits", traces, SIZE)
    made, _ = products(simulator, configured())
    frames = [one for one in made if isinstance(one, Frame)]
    assert not [one for one in made if isinstance(one, Cube)]
    paths = [write_frame(frame, tmp_path) for frame in frames[:SCAN_STEPS]]
    out = tmp_path / "scan.fits"
    code, _, err = command("refs", "make", "lensletscan", *paths, "--traces", arc, "--out", out)
    assert code == 0, err
    assert f"of {traces.ix.size} spectra measured" in err
    header = fits.getheader(out)
    assert (header["REFTYPE"], header["INSTMODE"], header["LLMSKST"]) == ("LENSLETSCAN", "LENSLET", "128x128")
    assert header["NGOOD"] > 0.97 * traces.ix.size
    assert command("refs", "make", "lensletscan", *paths, "--traces", arc, "--out", out)[0] == 2
    for with_scan, status in ((False, "APPROX"), (True, "OK")):
        simulator, _ = simulate(["science"], "lenslet", lenslet_wings=WINGS, seed=4)
        settings = configured(arc, lensletscan=out if with_scan else None)
        cube = [one for one in products(simulator, settings)[0] if isinstance(one, Cube)][-1]
        if header["NGOOD"] == traces.ix.size:
            assert cube.header.status == status
        said = {one.reftype: one.status for one in cube.header.references}
        assert said["lensletscan"] == ("OK" if with_scan else "MISSING")
    # A scan that lands in the night serves from the next frame on, and no longer than it is chosen.
    stage, made = cube_stage(configured(arc), FakeClock()), []
    for scan in (None, out, None):
        settings = configured(arc, lensletscan=scan)
        store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
        store.preload()
        frame = frames[-1]
        chosen = store.open(dict(frame.header.setup), frame.data.shape, "utr", frame.header.first_read_ns).select()
        made.append(list(stage.products(frame, chosen))[-1].data)
    np.testing.assert_array_equal(made[0], made[2])
    assert not np.array_equal(made[0], made[1], equal_nan=True)


def test_a_file_that_is_no_scan_is_said_to_be_none(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(RtcalError, match="lacks FIRST, SHARE, TRACES"):
        read_scan(path)
