"""A frame's numbers: on model stars, on noise, on what cannot be measured, and in the header and the file."""

import numpy as np
import pytest
from astropy.io import fits
from msgspec.structs import replace

from rtcal.persistence import Persistence
from rtcal.products import write_frame
from rtcal.quality import Meter, channel_noise_e
from rtcal.reduce import meter_of
from rtcal.survey import survey_of
from streams import wire
from streams.clock import NS
from streams.dq import Dq
from streams.messages import Frame
from streams.optics import Optics
from tests.quicklook import make_frame
from tests.rigs import settings_with
from tests.streams.test_photometry import airy

SETTINGS = settings_with()
METER = meter_of(SETTINGS)
SIDE = 512
PLACES = ((120, 130), (380, 140), (260.3, 380.2), (130, 390))


def measure(frame, noise_e, persistent=0, meter=METER):
    return meter.measure(frame, survey_of(frame, 1024).blocks, noise_e, persistent)


def flag(memory, frame):
    """Flag what glows in a frame; return these pixels."""
    header = frame.header
    glow = memory.glow(header.exposure_id, header.first_read_ns, header.time_ns, frame.data.shape)
    return survey_of(frame, 1024, glow).glowing


def remember(memory, frame):
    memory.remember(frame, survey_of(frame, 1024).blocks)


def star_frame(strehl=1.0, flux=2e5, sky=30.0, noise=0.3, **header):
    """Four stars at the diffraction limit in H, dimmed by what a halo beyond the radius would take."""
    assert METER is not None
    diffraction = METER.optics.diffraction_px({"FILTER": "H"})
    data = np.random.default_rng(7).normal(sky, noise, (SIDE, SIDE))
    for x, y in PLACES:
        stamp = airy(80 + x % 1, 80 + y % 1, diffraction, flux * strehl)
        left, low = int(x) - 80, int(y) - 80
        data[low : low + 161, left : left + 161] += stamp
    frame = make_frame("IMG1", 1, data=data, setup={"FILTER": "H"}, reads_used=8, reads_lost=0, **header)
    frame.dq[:] = 0
    return Frame(frame.header, frame.data, np.full(data.shape, noise, "f4"), frame.dq, frame.saturated_from)


def test_model_stars_give_their_width_light_and_sharpness():
    quality = measure(star_frame(), [])
    assert quality.sources == 4
    assert quality.fwhm_mas == pytest.approx(1.029 * METER.optics.diffraction_px({"FILTER": "H"}) * 4.0, rel=0.03)
    assert quality.strehl == pytest.approx(1.0, rel=0.05)
    assert quality.ee_50mas == pytest.approx(0.957, abs=0.02)
    assert quality.ellipticity < 0.05
    assert quality.sky == pytest.approx(30.0, abs=0.05)
    assert quality.sky_noise == pytest.approx(0.3, rel=0.1)


def test_stars_that_are_saturated_or_struck_are_left_out():
    frame = star_frame()
    frame.dq[130, 120] |= np.uint32(Dq.SATURATED)
    frame.dq[140, 380] |= np.uint32(Dq.JUMP_DET)
    quality = measure(frame, [])
    assert quality.sources == 2
    assert quality.saturated_fraction == pytest.approx(1 / SIDE**2)
    assert quality.jumps == 1
    assert quality.jumps_per_s_cm2 == pytest.approx(1 / frame.header.effective_s / (SIDE * 1e-3) ** 2)


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("shape", [(4, 4), (1, 300), (64, 64)])
def test_frames_without_a_star_have_no_width_and_raise_nothing(fill, shape):
    frame = make_frame("IMG1", 1, data=np.full(shape, fill))
    quality = measure(frame, [])
    assert (quality.sources, quality.fwhm_mas, quality.strehl) == (0, None, None)
    with_numbers = Frame(replace(frame.header, quality=quality), frame.data, frame.err, frame.dq, frame.saturated_from)
    assert wire.decode([bytes(part) for part in wire.encode(with_numbers)]).header.quality == quality


def test_the_fullest_pixel_tells_when_it_will_saturate():
    frame = star_frame(effective_s=7.0, ramps=1, saturation_dn=30_000.0, gain_e_per_dn=3.0)
    quality = measure(frame, [])
    peak = float(frame.data.max())
    assert quality.saturation_s == pytest.approx(90_000 / peak)
    assert quality.peak_fraction == pytest.approx(peak * 8.0 / 90_000)  # eight spacings of a second since the reset


def test_the_background_limit_is_the_closed_form():
    """H on four detectors of the design: 2.3 s at 110 e-/s and 9 e- with reads every 0.72 s."""
    data = np.random.default_rng(1).normal(110.0, 5.0, (256, 256))
    frame = make_frame("IMG1", 1, data=data, effective_s=0.72 * 9, reads_used=10, ramps=1, read_noise_e=9.0)
    tiny = Frame(frame.header, frame.data, np.full(data.shape, 1e-3, "f4"), frame.dq, frame.saturated_from)
    assert measure(tiny, []).background_limited_s == pytest.approx(np.sqrt(10 * 81 * 0.72 / 110), rel=0.01)
    cds = Frame(replace(tiny.header, mode="cds", reads_per_end=1), *(tiny.data, tiny.err, tiny.dq, tiny.saturated_from))
    assert measure(cds, []).background_limited_s == pytest.approx(2 * 81 / 110, rel=0.01)


def test_a_sky_that_was_subtracted_still_counts_by_its_noise():
    reads, spacing, rate = 10, 0.72, 110.0
    variance = 12 * 81 / (spacing**2 * reads * (reads**2 - 1))
    variance += 6 * rate * (reads**2 + 1) / (5 * spacing * reads * (reads**2 - 1))
    data = np.random.default_rng(1).normal(0.0, np.sqrt(variance), (256, 256))
    frame = make_frame("IMG1", 1, data=data, effective_s=spacing * 9, reads_used=reads, ramps=1, read_noise_e=9.0)
    sized = Frame(
        frame.header, frame.data, np.full(data.shape, np.sqrt(variance), "f4"), frame.dq, frame.saturated_from
    )
    assert measure(sized, []).background_limited_s == pytest.approx(np.sqrt(10 * 81 * spacing / rate), rel=0.02)


def test_the_sky_in_magnitudes_needs_a_zero_point():
    assert measure(star_frame(), []).sky_mag_arcsec2 is None
    optics = Optics(replace(SETTINGS.optics, zero_point={"H": 27.0}), SETTINGS.filters)
    quality = measure(star_frame(), [], meter=Meter(SETTINGS.quality, optics))
    assert quality.sky_mag_arcsec2 == pytest.approx(27.0 - 2.5 * np.log10(30 / 0.004**2), abs=0.01)


def test_read_noise_by_channel_is_that_of_the_reference_pixels():
    rng = np.random.default_rng(3)
    sigma = np.repeat(np.linspace(2.0, 5.0, 8), 64)
    first = 5000 + rng.normal(0, 1, (512, 512)) * sigma
    last = 5000 + 40 + rng.normal(0, 1, (512, 512)) * sigma + 3 * np.repeat(np.arange(8), 64)  # drifts drop out
    last[4:-4] += 5e4
    found = channel_noise_e(first, last, 4, 8, 3.04)
    assert found == pytest.approx((np.linspace(2.0, 5.0, 8) * 3.04).tolist(), rel=0.12)
    assert channel_noise_e(first, last, 0, 8, 3.04) == []
    assert channel_noise_e(first, last, 4, 7, 3.04) == []


def test_the_numbers_are_in_the_file(tmp_path):
    frame = star_frame()
    quality = measure(frame, [9.0, 9.5, 12.0], persistent=3)
    path = write_frame(
        Frame(replace(frame.header, quality=quality), frame.data, frame.err, frame.dq, frame.saturated_from), tmp_path
    )
    cards = fits.getheader(path)
    assert cards["QFWHM"] == pytest.approx(quality.fwhm_mas)
    assert (cards["QSTARS"], cards["QPERSIST"]) == (4, 3)
    assert (cards["QRDNOISE"], cards["QRDNMAX"], cards["QRDNCHAN"]) == (9.5, 12.0, 2)
    assert "QSKYMAG" not in cards


# ---- persistence ---------------------------------------------------------------------------------------------


def exposure(name, at_s, bright=(), err=0.01):
    data = np.full((32, 32), 5.0)
    frame = make_frame(
        "IMG1", at_s, data=data, exposure_id=name, time_ns=at_s * NS, first_read_ns=(at_s - 5) * NS,
        effective_s=5.0, ramps=1, saturation_dn=30_000.0, gain_e_per_dn=3.0,
    )  # fmt: skip
    frame.dq[:] = 0
    for y, x in bright:
        frame.data[y, x] = 17_000.0  # 85 000 e- of 90 000
    return Frame(frame.header, frame.data, np.full(data.shape, err, "f4"), frame.dq, frame.saturated_from)


def flagged(frame):
    return [tuple(place) for place in np.argwhere(frame.dq & np.uint32(Dq.PERSISTENCE) != 0).tolist()]


def test_a_pixel_that_was_nearly_full_is_flagged_while_it_would_show():
    memory = Persistence(SETTINGS.quality)
    first = exposure("a", 1000, [(3, 4)])
    assert flag(memory, first).size == 0
    remember(memory, first)
    second = exposure("b", 1020)
    assert flag(memory, second).size == 1
    assert flagged(second) == [(3, 4)]
    noisy = exposure("c", 1020, err=1.7)  # 85 e-/s after 1 s, 4.9 after 17.5: below 3 sigma
    assert flag(memory, noisy).size == 0
    late = exposure("d", 1000 + 1900)
    assert flag(memory, late).size == 0  # forgotten after half an hour


def test_an_exposures_own_ramps_do_not_flag_it_and_saturated_pixels_count_as_full():
    memory = Persistence(SETTINGS.quality)
    first = exposure("a", 1000)
    first.data[7, 7] = np.nan
    first.dq[7, 7] |= np.uint32(Dq.SATURATED | Dq.DO_NOT_USE)
    remember(memory, first)
    again = exposure("a", 1010)
    assert flag(memory, again).size == 0
    other = exposure("b", 1020)
    assert flag(memory, other).size == 1
    assert flagged(other) == [(7, 7)]


def test_an_earlier_exposure_does_not_glow_from_a_later_one():
    memory = Persistence(SETTINGS.quality)
    remember(memory, exposure("b", 1020, [(3, 4)]))
    assert flag(memory, exposure("a", 1000)).size == 0


def test_another_shape_starts_anew():
    memory = Persistence(SETTINGS.quality)
    flag(memory, exposure("a", 1000))
    remember(memory, exposure("a", 1000, [(3, 4)]))
    small = make_frame("IMG1", 2, data=np.zeros((16, 16)), exposure_id="b", time_ns=1020 * NS)
    assert flag(memory, small).size == 0
