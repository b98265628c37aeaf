"""A pixel's ramp with jumps, told slowly: lists of reads, float64, every fit anew."""

import numpy as np

from rtcal.steps import JumpTest

FIRST_STEPS = 1.2


def pixel_rate(signal: np.ndarray, times_s: np.ndarray, valid: int, test: JumpTest) -> tuple[float, bool]:
    """Return the rate [DN/s] of one pixel and whether a jump was found.

    `valid` is the number of reads before saturation; the read at that index is known to have come (if the ramp
    goes on so far).
    """
    pixel = _Pixel(signal.astype(float).copy(), times_s, test)
    n = len(signal)
    last = min(valid, n)
    if n > 3 and valid >= 3:
        pixel.judge_first_steps(saturates=valid == 3)
    for index in range(4, min(valid + 1, n)):
        pixel.judge(index, saturates=index == valid)
    if n > 3 and valid >= n:
        pixel.judge_last(n)
    return pixel.rate(last), pixel.jumped


class _Pixel:
    """Segments are lists of read indices; the last one is open."""

    def __init__(self, signal: np.ndarray, times_s: np.ndarray, test: JumpTest) -> None:
        self.signal = signal
        self.times_s = times_s
        self.test = test
        self.breaks: list[tuple[int, int]] = []  # closed segments, [start, stop)
        self.start = 0
        self.jumped = False

    def beyond(self, excess: float, flux: float, span_s: float, widen: float = 1.0) -> bool:
        noise2 = 2 * self.test.read_noise_dn**2 + max(flux, 0.0) * span_s / self.test.gain_e_per_dn
        return bool(excess**2 > widen * self.test.threshold_sigma**2 * noise2)

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
        gaps = np.diff(self.times_s[:4])
        loud = [self.beyond((steps[i] - flux) * gaps[i], flux, gaps[i], FIRST_STEPS) for i in (0, 1)]
        if not any(loud) and not saturates:
            return
        self.settle(2, flux, False)
        if self.start < 2:
            self.settle(3, flux, saturates)

    def settle(self, index: int, flux: float, saturates: bool, widen: float = FIRST_STEPS) -> None:
        k = index - 1
        t = self.times_s
        previous, pending, now = self.signal[k - 1], self.signal[k], self.signal[index]
        if not self.beyond(pending - previous - flux * (t[k] - t[k - 1]), flux, t[k] - t[k - 1], widen):
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
            self.settle(index, top / weight, saturates, 1.0)

    def judge_last(self, n: int) -> None:
        k, t = n - 1, self.times_s
        top, weight = self.fit([*self.breaks, (self.start, k)])
        if self.start >= k or weight == 0:
            return
        flux = top / weight
        if self.beyond(self.signal[k] - self.signal[k - 1] - flux * (t[k] - t[k - 1]), flux, t[k] - t[k - 1]):
            self.breaks.append((self.start, k))
            self.start = k
            self.jumped = True

    def rate(self, stop: int) -> float:
        top, weight = self.fit([*self.breaks, (self.start, stop)])
        return top / weight if weight > 0 else float("nan")
