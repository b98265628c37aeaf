import numpy as np
import pytest

from streams.dq import Dq
from streams.simulator.detector import TILE, Detector, make_chip, make_tile
from streams.simulator.instrument import PIXEL_CM
from tests.simulated import simulated

QUIET = {"drift_dn": 0.0, "cosmic_rays_per_s_per_cm2": 0.0, "nonlinearity": 0.0}


def detector(settings):
    return Detector(settings, "IMG1", chip(settings), make_tile(settings.seed, settings.size))


def chip(settings, name="IMG1"):
    return make_chip(settings, name, make_tile(settings.seed, settings.size))


def reads(settings, rate, count):
    """Reads of one ramp under an even rate on all pixels, in electrons, (read, y, x)."""
    made = detector(settings)
    rate_e_per_s = np.full((settings.size, settings.size), rate, np.float32)
    made.reset()
    ramp = []
    for _ in range(count):
        raw_dn, _ = made.read(rate_e_per_s, settings.frame_time_s)
        ramp.append(raw_dn.astype(np.float64) * settings.gain_e_per_dn)
    return np.stack(ramp)


def test_noise_tile_is_normal_and_closed():
    tile = make_tile(1, 512)
    assert tile.size == TILE + 512
    np.testing.assert_array_equal(tile[:512], tile[TILE:])
    body = tile[:TILE].astype(np.float64)
    assert body.mean() == pytest.approx(0, abs=1e-6)
    assert body.var() == pytest.approx(1, abs=1e-5)
    assert (body**4).mean() == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("rate", [2.0, 110.0, 3000.0])
def test_differences_of_reads_have_the_mean_and_variance_of_counted_light(rate):
    settings = simulated(size=512, **QUIET)
    steps = np.diff(reads(settings, rate, 6), axis=0)
    gathered_e = rate * settings.frame_time_s
    rounding = settings.gain_e_per_dn**2 / 12
    variance = gathered_e + 2 * (settings.read_noise_e**2 + rounding)
    # 1.3 million differences: the mean is known to 1e-3 sigma, the variance to 0.15 per cent.
    assert steps.mean() == pytest.approx(gathered_e, abs=4e-3 * np.sqrt(variance))
    assert steps.var() == pytest.approx(variance, rel=0.01)


def test_the_variance_of_a_long_difference_grows_with_the_light():
    settings = simulated(size=512, read_noise_e=0.0, gain_e_per_dn=0.5, **QUIET)
    ramp = reads(settings, 200.0, 8)
    long_e = ramp[7] - ramp[0]
    expected = 7 * 200 * settings.frame_time_s
    assert long_e.mean() == pytest.approx(expected, rel=1e-3)
    assert long_e.var() == pytest.approx(expected, rel=0.01)


def test_noise_of_one_read_tells_nothing_of_the_next_or_of_its_neighbour():
    settings = simulated(size=512, **QUIET)
    steps = np.diff(reads(settings, 500.0, 7), axis=0)
    steps -= steps.mean()
    across_reads = (steps[0] * steps[2]).mean() / steps.var()
    across_pixels = (steps[:, :, :-1] * steps[:, :, 1:]).mean() / steps.var()
    across_rows = (steps[:, :-1] * steps[:, 1:]).mean() / steps.var()
    assert abs(across_reads) < 0.01
    assert abs(across_pixels) < 0.01
    assert abs(across_rows) < 0.01


def test_read_noise_is_that_of_the_settings():
    settings = simulated(size=512, read_noise_e=9.0, **QUIET)
    steps = np.diff(reads(settings, 0.0, 5), axis=0)
    expected = np.sqrt(2 * (81 + settings.gain_e_per_dn**2 / 12))
    assert steps.std() == pytest.approx(expected, rel=0.005)


def test_a_reset_leaves_its_own_noise_that_stays_through_the_ramp():
    settings = simulated(size=512, ktc_noise_e=40.0, read_noise_e=0.0, **QUIET)
    made = detector(settings)
    dark = np.zeros((512, 512), np.float32)
    levels = []
    for _ in range(2):
        made.reset()
        ramp = []
        for _ in range(2):
            raw_dn, _ = made.read(dark, settings.frame_time_s)
            ramp.append(raw_dn.astype(np.float64) * settings.gain_e_per_dn)
        np.testing.assert_array_equal(ramp[0], ramp[1])
        levels.append(ramp[0])
    assert (levels[1] - levels[0]).std() == pytest.approx(40 * np.sqrt(2), rel=0.01)


def test_reference_pixels_follow_the_drift():
    settings = simulated(
        size=256, drift_dn=200.0, read_noise_e=0.0, ktc_noise_e=0.0, cosmic_rays_per_s_per_cm2=0.0, dark_e_per_s=0.0
    )
    made = detector(settings)
    nothing = np.zeros((256, 256), np.float32)
    made.reset()
    levels = []
    for _ in range(12):
        levels.append(made.read(nothing, settings.frame_time_s)[0].astype(np.float64))
    ramp = np.stack(levels) - levels[0]
    border = np.concatenate([ramp[:, :4], ramp[:, -4:]], axis=1)
    common = ramp[:, 4:-4].mean(axis=(1, 2))
    assert np.abs(common).max() > 50
    np.testing.assert_allclose(border.mean(axis=(1, 2)), common, atol=1)
    # Each channel's odd and even columns drift on their own besides, and the rows on with time.
    parity = border.mean(axis=1).reshape(12, settings.channels, 32, 2)
    for channel in range(settings.channels):
        for odd in range(2):
            inside = ramp[:, 4:-4, channel * 64 : channel * 64 + 64][:, :, 4 + odd : -4 : 2].mean(axis=(1, 2))
            np.testing.assert_allclose(parity[:, channel, 4:-4, odd].mean(axis=1), inside, atol=1)
    assert np.ptp(parity[5].mean(axis=1), axis=0).max() > 5


def test_raw_levels_show_outputs_and_odd_and_even_columns():
    settings = simulated(size=1024)
    bias = chip(settings).bias_dn
    columns = bias.mean(axis=0).reshape(settings.channels, 32, 2).mean(axis=1)
    assert columns.mean() == pytest.approx(settings.reset_level_dn, abs=120)
    assert 60 < columns.mean(axis=1).std() < 200
    assert np.abs(columns[:, 0] - columns[:, 1]).mean() > 10


def test_a_bright_pixel_ends_at_its_full_well():
    settings = simulated(read_noise_e=0.0, **QUIET)
    ramp = reads(settings, 60_000.0, 5)
    bias_e = chip(settings).bias_dn * settings.gain_e_per_dn
    assert np.mean(ramp[0] - bias_e) == pytest.approx(43_200, rel=1e-3)
    np.testing.assert_allclose(ramp[4] - bias_e, settings.full_well_e, atol=settings.gain_e_per_dn)


def test_the_converter_ends_at_16_bits():
    ramp = reads(simulated(gain_e_per_dn=1.0, reset_level_dn=40_000.0, **QUIET), 60_000.0, 3)
    assert ramp[2].max() == 65_535


def test_the_signal_bends_by_the_part_that_the_settings_give():
    straight, bent = (reads(simulated(**QUIET | {"nonlinearity": part}), 60_000.0, 5)[4].mean() for part in (0.0, 0.02))
    assert straight - bent == pytest.approx(0.02 * 100_000, rel=0.01)


def test_cosmic_rays_are_told_as_they_are_put_in():
    quiet = QUIET | {"read_noise_e": 0.0, "ktc_noise_e": 0.0, "gain_e_per_dn": 1.0, "dark_e_per_s": 0.0}
    settings = simulated(size=512, **quiet | {"cosmic_rays_per_s_per_cm2": 400.0})
    made = detector(settings)
    nothing = np.zeros((512, 512), np.float32)
    made.reset()
    before = made.read(nothing, 1e-9)[0].astype(np.float64)
    after, hits = made.read(nothing, 0.72)
    told = np.zeros((512, 512))
    np.add.at(told, (hits.y, hits.x), hits.charge_e)
    np.testing.assert_allclose(after - before, told, atol=1.5)
    expected = 400 * (504 * PIXEL_CM) ** 2 * 0.72 * 2.5
    assert hits.y.size == pytest.approx(expected, rel=0.3)
    assert not told[(chip(settings).dq & Dq.REFERENCE_PIXEL) != 0].any()


def test_a_seed_and_a_detector_fix_every_pixel():
    first, again = (reads(simulated(), 100.0, 2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (reads(simulated(seed=8), 100.0, 2) != first).mean() > 0.9
    assert (chip(simulated(), "IMG2").bias_dn != chip(simulated()).bias_dn).mean() > 0.9
