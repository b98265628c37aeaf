"""The references of a night for one detector: which there are, and which of them serves an exposure best."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from refcache import Chosen, Flags, ReferenceSet, Sky
from rtcal.config import NightSettings
from rtcal.night.dithers import Dithers
from rtcal.night.groups import Group, Made, setup_of
from rtcal.night.kinds import Kind
from streams.clock import NS
from streams.messages import Frame, Scalar


class NightReferences:
    """Skies, darks and arcs of this night; the owner's thread alone may use it.

    Parameters
    ----------
    settings
        The `[night]` table.
    fresh_s
        Largest distance in time between an exposure and a sky that serves it [s].

    Raises
    ------
    OSError
        If the directory for references cannot be made.
    """

    def __init__(self, settings: NightSettings, fresh_s: float) -> None:
        self._settings = settings
        self._fresh_ns = round(fresh_s * NS)
        self._directory = Path(settings.directory).expanduser() if settings.directory else None
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
        self._group: Group | None = None
        self._made: list[Made] = []
        self._own: Made | None = None
        """What the group that is open has made so far."""
        self._dithers = Dithers(settings, self._directory)
        self._means: dict[tuple[str, str, float], Sky] = {}

    def add(self, kind: Kind, frame: Frame) -> Made:
        """Take a calibration exposure; the reference that it belongs to is new, or better than before.

        Exposures of one kind and setup are one reference as long as nothing else comes between.
        """
        setup = setup_of(kind, frame.header.setup, _shape(frame))
        group = self._group
        full = group is not None and len(group.frames) >= self._settings.group_most
        if group is None or full or (group.kind, group.setup) != (kind, setup):
            self.interrupt()
            group = self._group = Group.begin(kind, setup, self._directory)
        made = group.add(frame, self._directory)
        self._made = [one for one in self._made if one is not self._own]  # it is made anew
        self._made.append(made)
        self._own = made
        while len(self._made) > 1 and self._nbytes() > self._settings.references_mb << 20:
            self._made.pop(0)
        return made

    def interrupt(self) -> None:
        """End the group: something else was exposed."""
        self._group = self._own = None

    def fail(self) -> None:
        """Begin new groups: of what was to be added, a part may be there and a part not."""
        self.interrupt()
        self._dithers = Dithers(self._settings, self._directory)

    def add_science(self, frame: Frame) -> bool:
        """Take a science exposure that has no sky, its dark taken out; tell whether there is a median now."""
        return self._dithers.add(frame)

    def has_sky(self, setup: Mapping[str, Scalar], shape: tuple[int, int]) -> bool:
        """Tell whether any sky of a setup was taken."""
        wanted = setup_of("sky", setup, shape)
        return any((made.kind, made.setup) == ("sky", wanted) for made in self._made)

    def improve(
        self, references: ReferenceSet, setup: Mapping[str, Scalar], shape: tuple[int, int], middle_ns: int
    ) -> ReferenceSet:
        """Return the references of an exposure with what the night has better.

        A sky: the mean of the nearest before and after, weighted by the inverse of their distances in time, else the
        nearest, unless the rules' own is nearer; with none, the median of science exposures. A dark: the nearest,
        where the rules have none that is fresh.
        """
        better: dict[str, Chosen] = {}
        sky = self._sky(setup_of("sky", setup, shape), middle_ns)
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
        wanted = setup_of("sky", setup, shape)
        closed = (made for made in self._made if made is not self._own)  # what is open may become better yet
        after = any((made.kind, made.setup) == ("sky", wanted) and made.middle_ns >= middle_ns for made in closed)
        return after or now_ns - middle_ns > self._fresh_ns

    def _sky(self, setup: tuple[tuple[str, str], ...], middle_ns: int) -> Chosen | None:
        near = [
            made
            for made in self._made
            if (made.kind, made.setup) == ("sky", setup) and abs(made.middle_ns - middle_ns) <= self._fresh_ns
        ]
        before = [made for made in near if made.middle_ns <= middle_ns]
        after = [made for made in near if made.middle_ns > middle_ns]
        if before and after:
            return self._between(
                max(before, key=lambda made: made.middle_ns), min(after, key=lambda made: made.middle_ns), middle_ns
            )
        nearest = self._nearest("sky", setup, middle_ns) if near else None
        return None if nearest is None else _chosen(nearest, middle_ns)

    def _nearest(self, kind: Kind, setup: tuple[tuple[str, str], ...], middle_ns: int) -> Made | None:
        made = [one for one in self._made if (one.kind, one.setup) == (kind, setup)]
        return min(made, key=lambda one: abs(one.middle_ns - middle_ns), default=None)

    def _between(self, before: Made, after: Made, middle_ns: int) -> Chosen:
        """Return the mean of two skies, the nearer counting more."""
        gaps = [max(middle_ns - before.middle_ns, 1), max(after.middle_ns - middle_ns, 1)]
        weight = round(gaps[1] / (gaps[0] + gaps[1]), 3)  # of the one before
        mean = self._mean(before, after, weight)
        age_s = min(gaps) / NS * (1 if gaps[0] <= gaps[1] else -1)
        note = (
            f"of this night, the mean of {weight:.3f} {before.reference.name} ({gaps[0] / NS:.0f} s before) and "
            f"{1 - weight:.3f} {after.reference.name} ({gaps[1] / NS:.0f} s after)"
        )
        return Chosen("sky", "OK", mean, age_s, note, mean.name, mean.sha256)

    def _mean(self, before: Made, after: Made, weight: float) -> Sky:
        one, two = before.reference, after.reference
        assert isinstance(one, Sky)
        assert isinstance(two, Sky)
        key = one.sha256, two.sha256, weight
        if key not in self._means:
            w1, w2 = np.float32(weight), np.float32(1 - weight)
            rate, err = w1 * one.rate + w2 * two.rate, np.hypot(w1 * one.err, w2 * two.err)
            flags = one.dq.plane()
            two.dq.merge_into(flags)
            dq = Flags.of(flags)
            for plane in (rate, err):
                plane.setflags(write=False)
            name = f"{one.name} + {two.name}"
            self._means = {key: replace(one, name=name, rate=rate, err=err, dq=dq)}  # the latest serves again at most
        return self._means[key]

    def _nbytes(self) -> int:
        return sum(made.reference.nbytes for made in self._made)


def _chosen(made: Made, middle_ns: int) -> Chosen:
    reference = made.reference
    age_s = (middle_ns - made.middle_ns) / NS
    note = "; ".join(reference.notes)
    return Chosen(reference.reftype, "OK", reference, age_s, note, reference.name, reference.sha256)


def _shape(frame: Frame) -> tuple[int, int]:
    return frame.data.shape[0], frame.data.shape[1]
