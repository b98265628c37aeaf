"""A pixel's ramp with jumps, told slowly: lists of reads, float64, every fit anew."""

import numpy as np

from rtcal.steps import JumpTest

TOGETHER, MEDIAN = 0.81, 0.85
"""Of the variance of a step and its prediction, what counts; of that of a fitted step, what the median's tails have."""


def pixel_rate(signal: np.ndarray, times_s: np.ndarray, valid: int, test: JumpTest) -> tuple[float, bool]:
    """Return the rate [DN/s] of one pixel and whether a jump was found.

    `valid` is the number of reads before saturation; the read at that index is known to have come (if the ramp
    goes on so far).
    """
    pixel = Pixel(signal.astype(float).copy(), times_s, test)
    n = len(signal)
    last = min(valid, n)
    if n > 3 and valid >= 3:
        pixel.judge_first_steps(saturates=valid == 3)
    for index in range(4, min(valid + 1, n)):
        pixel.judge(index, saturates=index == valid)
    if n > 3 and valid >= n:
        pixel.judge_last(n)
    return pixel.rate(last), pixel.jumped


class Pixel:
    """Segments are lists of read indices; the last one is open."""

    def __init__(self, signal: np.ndarray, times_s: np.ndarray, test: JumpTest) -> None:
        self.signal = signal
        self.times_s = times_s
        self.test = test
        self.breaks: list[tuple[int, int]] = []  # closed segments, [start, stop)
        self.start = 0
        self.jumped = False

    def beyond(self, excess: float, flux: float, own: np.ndarray, judged: np.ndarray, part: float = TOGETHER) -> bool:
        """Judge by the noise of two weighted sums of reads, of the step's own and of what the excess is: the larger."""
        (own_read, own_photon), (read, photon) = self.noise(own), self.noise(judged)
        variance = max(own_read, part * read) + max(flux, 0.0) * max(own_photon, part * photon)
        return bool(excess**2 > self.test.threshold_sigma**2 * variance)

    def noise(self, weights: np.ndarray) -> tuple[float, float]:
        """Variance of a weighted sum of reads: that of the reads, and that of photons at 1 DN/s."""
        tails = [weights[m:].sum() for m in range(1, len(weights))]
        photon = np.diff(self.times_s[: len(weights)]) @ np.square(tails) / self.test.gain_e_per_dn
        return self.test.read_noise_dn**2 * float(weights @ weights), float(photon)

    def step_into(self, k: int) -> np.ndarray:
        weights = np.zeros(len(self.signal))
        weights[k - 1], weights[k] = -1, 1
        return weights

    def less_the_fit(self, k: int) -> np.ndarray:
        """The weights of the step into a read less what the fit of the reads before it predicts."""
        slope, total = np.zeros(len(self.signal)), 0.0
        for start, stop in [*self.breaks, (self.start, k)]:
            if stop - start >= 2:
                times = self.times_s[start:stop] - self.times_s[start:stop].mean()
                slope[start:stop] += times
                total += float(times @ times)
        return self.step_into(k) - slope / total * (self.times_s[k] - self.times_s[k - 1])

    def fitted_step(self, k: int, n: int) -> np.ndarray:
        """The weights of a step in the least-squares fit of a line that has it, to the first `n` reads."""
        weights = np.zeros(len(self.signal))
        model = np.stack([np.ones(n), self.times_s[:n], (np.arange(n) >= k).astype(float)], axis=1)
        weights[:n] = np.linalg.pinv(model)[2]
        return weights

    def fit(self, segments: list[tuple[int, int]]) -> tuple[float, float]:
        top = weight = 0.0
        for start, stop in segments:
            if stop - start >= 2:
                times = self.times_s[start:stop] - self.times_s[start:stop].mean()
                top += float(times @ self.signal[start:stop])
                weight += float(times @ times)
        return top, weight

    def judge_first_steps(self, *, saturates: bool) -> None:
        steps = np.diff(self.signal[:4]) / np.diff(self.times_s[:4])
        flux = min(steps[0], steps[1]) if saturates else float(np.median(steps))
        n, part = (3, TOGETHER) if saturates else (4, TOGETHER * MEDIAN)
        self.settle(2, flux, False, self.fitted_step(1, n), part)
        if self.start < 2:
            self.settle(3, flux, saturates, self.fitted_step(2, n), part)

    def settle(self, index: int, flux: float, saturates: bool, judged: np.ndarray, part: float = TOGETHER) -> None:
        k = index - 1
        t = self.times_s
        previous, pending, now = self.signal[k - 1], self.signal[k], self.signal[index]
        if not self.beyond(pending - previous - flux * (t[k] - t[k - 1]), flux, self.step_into(k), judged, part):
            return
        self.breaks.append((self.start, k))
        back = abs(now - previous - flux * (t[index] - t[k - 1])) < abs(now - pending - flux * (t[index] - t[k]))
        if saturates or back:
            self.start = index
        else:
            self.start = k
        self.jumped |= saturates or not back

    def judge(self, index: int, *, saturates: bool) -> None:
        top, weight = self.fit([*self.breaks, (self.start, index - 1)])
        if weight > 0 and self.start < index - 1:  # the read after a bad one is believed
            self.settle(index, top / weight, saturates, self.less_the_fit(index - 1))

    def judge_last(self, n: int) -> None:
        k, t = n - 1, self.times_s
        top, weight = self.fit([*self.breaks, (self.start, k)])
        if self.start >= k or weight == 0:
            return
        flux = top / weight
        excess = self.signal[k] - self.signal[k - 1] - flux * (t[k] - t[k - 1])
        if self.beyond(excess, flux, self.step_into(k), self.less_the_fit(k)):
            self.breaks.append((self.start, k))
            self.start = k
            self.jumped = True

    def rate(self, stop: int) -> float:
        top, weight = self.fit([*self.breaks, (self.start, stop)])
        return top / weight if weight > 0 else float("nan")
