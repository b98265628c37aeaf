"""What leaving out reads gains: the numbers of docs/telemetry.md."""

import numpy as np
import pytest

from tests.seeing import READS, compare


def test_reads_that_are_left_out_cost_only_their_time() -> None:
    found, frames, _ = compare()
    calm = found["all is well"]
    for fault in ("bad seeing", "shaking"):
        kept, cut = found[fault], found[f"{fault}, left out"]
        assert (kept.reads, cut.reads, frames[f"{fault}, left out"].header.reads_excluded) == (READS, 19, 11)
        # The stars are as bright and as sharp as where all is well; light goes as the time, noise as its root.
        assert cut.peak_e_per_s == pytest.approx(calm.peak_e_per_s, rel=0.05)
        assert cut.fwhm_mas == pytest.approx(calm.fwhm_mas, rel=0.03)
        assert cut.signal_to_noise == pytest.approx(calm.signal_to_noise * np.sqrt(19 / 30), rel=0.2)
        assert kept.fwhm_mas > cut.fwhm_mas
    # Bad seeing takes light out of the core.
    assert found["bad seeing"].peak_e_per_s < 0.7 * calm.peak_e_per_s
    assert found["bad seeing, left out"].signal_to_noise > 1.2 * found["bad seeing"].signal_to_noise
    # Shaking leaves it there, and makes it wider.
    assert found["shaking"].fwhm_mas > 1.1 * found["shaking, left out"].fwhm_mas
