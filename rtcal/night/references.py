"""The references of a night for one detector: which there are, and which of them serves an exposure best."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from refcache import Chosen, Flags, ReferenceSet, Sky
from rtcal.config import NightSettings
from rtcal.errors import RtcalError
from rtcal.night.dithers import Dithers
from rtcal.night.earlier import earlier
from rtcal.night.groups import Group, Made, Setup, setup_of
from rtcal.night.kept import Kept
from rtcal.night.kinds import Kind
from rtcal.night.shelf import Shelf
from rtcal.refmake.stacks import Advance
from streams.clock import NS
from streams.errors import ImageError
from streams.messages import Scalar

ROWS = 256


class NightReferences:
    """Skies, darks and arcs of this night of one detector.

    One thread may change them; `improve` is for any.

    Parameters
    ----------
    settings
        The `[night]` table.
    fresh_s
        Largest distance in time between an exposure and a sky that serves it [s].
    shelf
        Where the references of all detectors are.
    directory
        Where they are also written; None for nowhere.
    """

    def __init__(self, settings: NightSettings, fresh_s: float, shelf: Shelf[Made], directory: Path | None) -> None:
        self._settings = settings
        self._fresh_ns = round(fresh_s * NS)
        self._shelf = shelf
        self._directory = directory
        self._group: Group | None = None
        self._waiting: list[Group] = []
        """Those with exposures that their reference does not have yet."""
        self._own = ""
        """The reference of the group that is open, which may become better yet."""
        self._dithers = Dithers(settings)
        self._mean: tuple[str, Sky] | None = None

    def add(self, exposure: Kept) -> None:
        """Take a calibration exposure; exposures of one kind and setup are one group as long as nothing comes between.

        The group's reference is made by `make`.
        """
        setup = setup_of(exposure.kind, exposure.header.setup, exposure.shape)
        group = self._group
        full = group is not None and len(group.exposures) >= self._settings.group_most
        if group is None or full or (group.kind, group.setup) != (exposure.kind, setup):
            self.interrupt()
            group = self._group = Group(exposure.kind, setup)
        group.exposures.append(exposure)
        if group not in self._waiting:
            self._waiting.append(group)

    def interrupt(self) -> None:
        """End the group: something else was exposed."""
        self._group, self._own = None, ""

    def add_science(self, exposure: Kept) -> None:
        """Take a science exposure that has no sky."""
        self._dithers.add(exposure)

    def make(self, advance: Advance) -> int:
        """Make one reference of those that are due; return how many exposures are new in it.

        Raises
        ------
        RtcalError, ImageError, OSError
            If there is no space for it; its exposures are given up.
        """
        group = self._waiting.pop(0)
        before = group.made_of
        try:
            made = group.make(self._directory, advance)
        except (RtcalError, ImageError, OSError):
            if group is self._group:
                self.interrupt()
            raise
        self.take_up(made)
        if group is self._group:
            self._own = made.reference.name
        return made.exposures - before

    @property
    def due(self) -> bool:
        """Whether a group has exposures that its reference does not have yet."""
        return bool(self._waiting)

    def make_median(self, advance: Advance) -> bool:
        """Make the median of science exposures anew, if there are further ones; tell whether there is one now.

        Raises
        ------
        RtcalError
            If their rates cannot be read; they are given up.
        """
        try:
            return self._dithers.make(advance)
        except RtcalError:
            self._dithers = Dithers(self._settings)
            raise

    def take_up(self, made: Made) -> None:
        """Let a reference serve, in the place of an earlier one of its name."""
        self._shelf.put(self, made.reference.name, made, made.reference.nbytes)

    def improve(
        self,
        references: ReferenceSet,
        setup: Mapping[str, Scalar],
        shape: tuple[int, int],
        middle_ns: int,
        *,
        between: bool,
    ) -> ReferenceSet:
        """Return the references of an exposure with what the night has better.

        A sky: the mean of the nearest before and after, weighted by the inverse of their distances in time, else the
        nearest, unless the rules' own is nearer; with none, the median of science exposures. A dark: the nearest,
        where the rules have none that is fresh. Without `between` no mean is made: that takes time.
        """
        better: dict[str, Chosen] = {}
        sky = self._sky(setup_of("sky", setup, shape), middle_ns, between=between)
        rules = references.sky
        nearer = rules.reference is not None and rules.age_s is not None
        if sky is not None and not (nearer and abs(rules.age_s or 0) < abs(sky.age_s or 0)):
            better["sky"] = sky
        elif sky is None and rules.reference is None:
            median = self._dithers.chosen(setup_of("sky", setup, shape), middle_ns)
            if median is not None:
                better["sky"] = median
        if references.dark.status != "OK":
            dark = self._nearest("dark", setup_of("dark", setup, shape), middle_ns)
            if dark is not None:
                better["dark"] = _chosen(dark, middle_ns)
        return references.changed(better)

    def is_settled(self, setup: Mapping[str, Scalar], shape: tuple[int, int], middle_ns: int, now_ns: int) -> bool:
        """Tell whether no later exposure can give a frame a better sky."""
        skies = self._all("sky", setup_of("sky", setup, shape))
        closed = (made for made in skies if made.reference.name != self._own)  # what is open may become better yet
        return any(made.middle_ns >= middle_ns for made in closed) or now_ns - middle_ns > self._fresh_ns

    def take_up_earlier(self, instrument: str, detector: str, now_ns: int, tell: Callable[[str], None]) -> list[Setup]:
        """Let what an earlier run has written serve again; return the setups that have a sky by it."""
        if self._directory is None:
            return []
        skies = []
        for made in earlier(self._directory, instrument, detector, now_ns, self._fresh_ns, tell):
            self.take_up(made)
            skies += [made.setup] if made.kind == "sky" else []
        return skies

    def forget_mean(self) -> None:
        """Give the memory of the latest mean of two skies back."""
        self._mean = None

    def _all(self, kind: Kind, setup: Setup) -> list[Made]:
        return [made for made in self._shelf.of(self) if (made.kind, made.setup) == (kind, setup)]

    def _sky(self, setup: Setup, middle_ns: int, *, between: bool) -> Chosen | None:
        near = [made for made in self._all("sky", setup) if abs(made.middle_ns - middle_ns) <= self._fresh_ns]
        before = [made for made in near if made.middle_ns <= middle_ns]
        after = [made for made in near if made.middle_ns > middle_ns]
        if between and before and after:
            return self._between(
                max(before, key=lambda made: made.middle_ns), min(after, key=lambda made: made.middle_ns), middle_ns
            )
        nearest = self._nearest("sky", setup, middle_ns) if near else None
        return None if nearest is None else _chosen(nearest, middle_ns)

    def _nearest(self, kind: Kind, setup: Setup, middle_ns: int) -> Made | None:
        return min(self._all(kind, setup), key=lambda one: abs(one.middle_ns - middle_ns), default=None)

    def _between(self, before: Made, after: Made, middle_ns: int) -> Chosen:
        """Return the mean of two skies, the nearer counting more."""
        gaps = [max(middle_ns - before.middle_ns, 1), max(after.middle_ns - middle_ns, 1)]
        weight = round(gaps[1] / (gaps[0] + gaps[1]), 3)  # of the one before
        mean = self._mean_of(before, after, weight)
        age_s = min(gaps) / NS * (1 if gaps[0] <= gaps[1] else -1)
        note = (
            f"of this night, the mean of {weight:.3f} {before.reference.name} ({gaps[0] / NS:.0f} s before) and "
            f"{1 - weight:.3f} {after.reference.name} ({gaps[1] / NS:.0f} s after)"
        )
        return Chosen("sky", "OK", mean, age_s, note, mean.name, mean.sha256)

    def _mean_of(self, before: Made, after: Made, weight: float) -> Sky:
        one, two = before.reference, after.reference
        assert isinstance(one, Sky)
        assert isinstance(two, Sky)
        digest = hashlib.sha256(f"{one.sha256} {two.sha256} {weight}".encode()).hexdigest()
        if self._mean is None or self._mean[0] != digest:
            self._mean = None  # its memory first
            self._mean = digest, _mean(one, two, weight, digest)
        return self._mean[1]


def _mean(one: Sky, two: Sky, weight: float, sha256: str) -> Sky:
    """Return the weighted mean of two skies, errors with them; a few rows at a time: nothing else is as large."""
    w1, w2 = np.float32(weight), np.float32(1 - weight)
    rate, err = np.empty_like(one.rate), np.empty_like(one.err)
    for start in range(0, rate.shape[0], ROWS):
        rows = slice(start, start + ROWS)
        rate[rows] = w1 * one.rate[rows] + w2 * two.rate[rows]
        err[rows] = np.hypot(w1 * one.err[rows], w2 * two.err[rows])
    for plane in (rate, err):
        plane.setflags(write=False)
    dq = Flags.merged(one.dq, two.dq)
    return replace(one, name=f"{one.name} + {two.name}", sha256=sha256, rate=rate, err=err, dq=dq)


def _chosen(made: Made, middle_ns: int) -> Chosen:
    reference = made.reference
    age_s = (middle_ns - made.middle_ns) / NS
    note = "; ".join(reference.notes)
    return Chosen(reference.reftype, "OK", reference, age_s, note, reference.name, reference.sha256)
