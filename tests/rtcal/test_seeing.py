"""What leaving out a burst of bad seeing gains: the numbers of docs/telemetry.md."""

import numpy as np
import pytest

from tests.seeing import READS, compare


def test_a_burst_that_is_left_out_costs_only_its_time() -> None:
    found, frames, _ = compare()
    calm, kept, cut = found["no burst"], found["burst kept"], found["burst left out"]
    assert (kept.reads, cut.reads, frames["burst left out"].header.reads_excluded) == (READS, 19, 11)
    # The stars are as bright as without the burst; with it they lose what went into the halo.
    assert cut.peak_e_per_s == pytest.approx(calm.peak_e_per_s, rel=0.05)
    assert kept.peak_e_per_s < 0.65 * calm.peak_e_per_s
    # Faint stars on the sky: light goes as the time, noise as its root.
    assert cut.signal_to_noise > 1.2 * kept.signal_to_noise
    assert cut.signal_to_noise == pytest.approx(calm.signal_to_noise * np.sqrt(19 / 30), rel=0.2)
    # The core is as wide as diffraction makes it, burst or not.
    assert cut.fwhm_mas == pytest.approx(calm.fwhm_mas, rel=0.03)
