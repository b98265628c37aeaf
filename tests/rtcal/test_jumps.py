"""How well jumps are found, in numbers: too many pixels for kernels that are not compiled."""

import numpy as np
import pytest

from rtcal.buffers import Buffers
from rtcal.calibration import Calibration, Limits
from rtcal.config import Detector
from rtcal.exposure import Exposure
from rtcal.ramp import Plan
from rtcal.survey import Survey
from streams.dq import Dq
from tests.fakes import FixedReferences, ramp_reads

DETECTOR = Detector(gain_e_per_dn=2.0, read_noise_e=9.0, saturation_dn=60_000.0, reference_border=0, channels=0)
READS, SHAPE = 16, (120, 512)


def frame_of(electrons, bands, calibration_settings):
    reads = ramp_reads((5000 + electrons / 2.0).astype("<f4"), times_s=np.arange(len(electrons)) * 0.72)
    shape = electrons.shape[1:]
    calibration = Calibration.build(FixedReferences().select({}, shape, "utr", 0), shape, 0)
    plan = Plan("utr", 1, Limits(58_000.0), DETECTOR, jump_sigma=5.0)
    exposure = Exposure(reads[0], plan, calibration, Buffers.fit_for(reads[0], None), bands)
    for read in reads:
        exposure.add(read)
    exposure.close_ramp()
    return exposure.frame(
        calibration_settings,
        Survey(exposure.calibration.shape, 1024),
        sequence=0,
        revision=0,
        final=True,
        published_ns=0,
    )


@pytest.mark.parametrize("flux", [1, 110])
@pytest.mark.parametrize(("charge", "least"), [(110, 0.97), (130, 0.99)])
def test_completeness_and_false_alarms(flux, charge, least, bands, calibration_settings):
    """kappa 5, 9 e-: at least 97 % of 110 e- and 99 % of 130 e- found up to 110 e-/s, at most 5e-5 false a step."""
    rng = np.random.default_rng(8)
    at, hit = rng.integers(5, READS - 1, SHAPE), rng.random(SHAPE) < 0.5
    electrons = np.cumsum(rng.poisson(flux * 0.72, (READS, *SHAPE)), axis=0) + rng.normal(0, 9.0, (READS, *SHAPE))
    electrons += np.where(hit, charge, 0) * (np.arange(READS)[:, None, None] >= at)
    frame = frame_of(electrons, bands, calibration_settings)
    found = frame.dq & Dq.JUMP_DET != 0
    assert found[hit].mean() >= least
    assert found[~hit].mean() / (READS - 1) <= 5e-5
    chosen = found & hit
    assert abs(np.mean((frame.data[chosen] - flux) / frame.err[chosen])) < 0.1


@pytest.mark.parametrize("reads", [4, 6])
def test_the_first_reads_which_know_the_flux_badly_have_few_false_alarms(reads, bands, calibration_settings):
    """Nothing but read noise: at most 2e-5 a step, where the step's own noise alone would give 9e-5."""
    electrons = np.random.default_rng(5).normal(0, 9.0, (reads, 400, 1024))
    found = frame_of(electrons, bands, calibration_settings).dq & Dq.JUMP_DET != 0
    assert found.mean() / (reads - 1) <= 2e-5
