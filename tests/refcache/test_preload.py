import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refcache import Chosen, Dark, ReferenceStore, Sky
from refcache.chosen import MAX_NOTE
from tests.crds_cache import SHAPE, STALE_S, rmap_text, settings, write_cache, write_reference
from tests.refcache_night import HOUR, NOON, PARKEY, SETUP, cache, rules


def store(root: Path | None = None, environ: dict[str, str] | None = None, **changes: Any) -> ReferenceStore:
    path = {"path": str(root)} if root is not None else {}
    return ReferenceStore(settings(**path, **changes), STALE_S, environ or {})


def dark_of(chooser: ReferenceStore, mode: Any = "utr", time_ns: int = NOON, **changes: Any) -> Chosen:
    return chooser.select({**SETUP, **changes}, SHAPE, mode, time_ns).dark


def test_rules_choose_and_files_are_applied(tmp_path: Path) -> None:
    chooser = store(cache(tmp_path))
    assert chooser.preload() == []
    chosen = chooser.select(SETUP, SHAPE, "utr", NOON)
    assert [(one.reftype, one.status) for one in chosen.chosen()] == [
        ("badpix", "OK"),
        ("saturation", "NA"),
        ("bias", "NA"),
        ("linearity", "NA"),
        ("gain", "NA"),
        ("readnoise", "NA"),
        ("dark", "OK"),
        ("sky", "NA"),
        ("flat", "OK"),
        ("arc", "NA"),
        ("lensletscan", "NA"),
        ("adc", "MISSING"),
    ]
    assert isinstance(chosen.dark.reference, Dark)
    assert (chosen.dark.reference.rate == 2).all()
    assert (chosen.dark.name, chosen.dark.age_s, chosen.dark.note) == ("dark_2.fits", 3600.0, "")
    assert chosen.dark.sha256 == chosen.dark.reference.sha256
    assert chosen.sky.note == "tmt_iris_0001.imap says N/A for SKY"
    assert chosen.crds_context == "tmt_0001.pmap"
    assert len(chosen.crds_sha1) == 40


def test_the_first_reads_time_counts_not_the_setups_date(tmp_path: Path) -> None:
    chooser = store(cache(tmp_path))
    early = dark_of(chooser, time_ns=NOON - HOUR - 1, **{"DATE-OBS": "2027-06-01T00:00:00"})
    assert (early.name, early.status) == ("dark_1.fits", "STALE")
    assert dark_of(chooser, time_ns=NOON - HOUR).name == "dark_2.fits"


@pytest.mark.parametrize("date", ["'META.DATE',", "'DATE-OBS',", "'DATE-OBS', 'TIME-OBS'"])
def test_rules_may_take_the_date_from_any_keys(tmp_path: Path, date: str) -> None:
    parkey = f"(('DETECTOR',), ({date}))"
    text = rmap_text("Match({ 'IMG1' : UseAfter({ '2027-01-01 11:59:59' : 'dark_2.fits' }) })", parkey)
    write_cache(cache(tmp_path), {"DARK": text})
    assert dark_of(store(tmp_path)).name == "dark_2.fits"
    assert "no rule of" in dark_of(store(tmp_path), time_ns=NOON - HOUR).note


def test_preload_reads_everything_once_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chooser = store(cache(tmp_path))
    seen: list[tuple[int, int, str]] = []
    assert chooser.preload(lambda done, total, name: seen.append((done, total, name))) == []
    assert seen == [(0, 4, "mask_1.fits"), (1, 4, "dark_2.fits"), (2, 4, "dark_1.fits"), (3, 4, "flat_1.fits")]
    monkeypatch.setattr("refcache.holding.load_reference", None)
    assert dark_of(chooser).status == "OK"
    assert dark_of(chooser).reference is dark_of(chooser).reference


def test_preload_says_what_is_wrong_in_words(tmp_path: Path) -> None:
    cache(tmp_path)
    folder = tmp_path / "references" / "tmt" / "iris"
    (folder / "dark_1.fits").unlink()
    (folder / "mask_1.fits").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "mappings" / "tmt" / "tmt_iris_flat_0001.rmap").write_text("header = {")
    problems = store(tmp_path).preload()
    assert len(problems) == 3
    assert problems[0].startswith("tmt_iris_flat_0001.rmap:1: is no mapping")
    assert problems[1] == f"1 of 3 references are not in {folder}: dark_1.fits"
    assert "mask_1.fits: is a Git LFS pointer" in problems[2]


def test_one_bad_type_leaves_the_others_alone(tmp_path: Path) -> None:
    cache(tmp_path)
    (tmp_path / "mappings" / "tmt" / "tmt_iris_dark_0001.rmap").write_text("header = {")
    (tmp_path / "references" / "tmt" / "iris" / "mask_1.fits").write_text("no FITS")
    chosen = store(tmp_path).select(SETUP, SHAPE, "utr", NOON)
    assert (chosen.dark.status, chosen.badpix.status, chosen.flat.status) == ("MISSING", "MISSING", "OK")
    assert "tmt_iris_dark_0001.rmap:1: is no mapping" in chosen.dark.note
    assert (chosen.badpix.name, chosen.badpix.reference) == ("mask_1.fits", None)
    assert "mask_1.fits: is not FITS" in chosen.badpix.note


def test_a_file_that_failed_is_tried_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache(tmp_path) / "references" / "tmt" / "iris" / "dark_2.fits"
    path.write_text("no FITS")
    chooser = store(tmp_path)
    first = dark_of(chooser)
    with monkeypatch.context() as patch:
        patch.setattr("refcache.holding.load_reference", None)  # a second try would be a TypeError
        assert dark_of(chooser) == first
    write_reference(path, "dark")
    assert dark_of(chooser).status == "OK"


def test_a_reference_of_another_shape_is_a_mismatch(tmp_path: Path) -> None:
    chosen = store(cache(tmp_path)).select(SETUP, (6, 9), "utr", NOON).dark
    assert (chosen.status, chosen.reference, chosen.name) == ("MISMATCH", None, "dark_2.fits")
    assert chosen.note == "shape is 8 x 6, the exposure's 9 x 6"


def test_a_subarray_takes_its_window_of_the_full_frame(tmp_path: Path) -> None:
    chooser = store(cache(tmp_path))
    setup = {**SETUP, "SUBARRAY": "SUB1", "SARRMODE": "SUB_ARRAY", "XSTART": 3, "YSTART": 2}
    chosen = chooser.select(setup, (3, 4), "utr", NOON).dark
    assert chosen.status == "OK"
    assert chosen.reference is not None
    assert chosen.reference.shape == (3, 4)
    assert chosen.note == "cropped to 3 x 4 at column 3, row 2"
    assert chooser.select(setup, (3, 4), "utr", NOON).dark.reference is chosen.reference
    for wrong in ({"XSTART": 6}, {"YSTART": 0}, {"XSTART": "3"}, {"SUBARRAY": "FULL", "SARRMODE": "FULL_FRAME"}):
        assert chooser.select({**setup, **wrong}, (3, 4), "utr", NOON).dark.status == "MISMATCH"


def test_rules_without_the_subarray_are_asked_for_the_full_frame(tmp_path: Path) -> None:
    parkey = "(('META.SUBARRAY.NAME',), ('META.DATE',))"
    text = rmap_text("Match({ 'FULL' : UseAfter({ '2026-12-01 00:00:00' : 'dark_1.fits' }) })", parkey)
    write_cache(cache(tmp_path), {"DARK": text})
    setup = {"SUBARRAY": "SUB1", "XSTART": 1, "YSTART": 1}
    assert dark_of(store(tmp_path), **setup).name == "dark_1.fits"
    assert "SUBARRAY.NAME='UNDEFINED'" in store(tmp_path).select({}, SHAPE, "utr", NOON).dark.note


@pytest.mark.parametrize(
    ("reftype", "kind"), [("linearity", "NONLINCOEFF"), ("saturation", "SATURATION"), ("bias", "BIAS")]
)
def test_what_reads_are_corrected_with_is_chosen_judged_and_cut_like_the_rest(
    tmp_path: Path, reftype: str, kind: str
) -> None:
    write_cache(tmp_path, {kind: rules(kind, "2026-12-01 00:00:00")})
    path = tmp_path / "references" / "tmt" / "iris" / f"{kind.lower()}_1.fits"
    write_reference(path, reftype, DETECTOR="IMG1", USEAFTER="2026-12-01 00:00:00")
    chosen = store(tmp_path).select(SETUP, SHAPE, "utr", NOON)
    fits_well = getattr(chosen, reftype)
    assert (fits_well.status, fits_well.name, fits_well.note) == ("OK", f"{kind.lower()}_1.fits", "")
    assert chosen.applied(type(fits_well.reference)) is fits_well.reference
    window = {**SETUP, "SUBARRAY": "SUB1", "XSTART": 3, "YSTART": 2}
    cut = getattr(store(tmp_path).select(window, (3, 4), "utr", NOON), reftype)
    assert (cut.status, cut.reference.shape) == ("OK", (3, 4))
    write_reference(path, reftype, DETECTOR="IMG2")
    other = getattr(store(tmp_path).select(SETUP, SHAPE, "utr", NOON), reftype)
    assert (other.status, other.reference) == ("MISMATCH", None)
    forced = store(tmp_path, override={reftype: str(path)}).select(SETUP, SHAPE, "utr", NOON)
    assert getattr(forced, reftype).status == "STALE"


def test_wavelengths_are_chosen_for_spectra_alone_and_whatever_the_shape_of_the_file(tmp_path: Path) -> None:
    write_cache(tmp_path, {"ARC": rules("ARC", "2026-12-31 18:00:00")})
    write_reference(tmp_path / "references/tmt/iris/arc_1.fits", "dark", GRATING="4000-K", INSTMODE="SLICER")
    setup = {**SETUP, "INSTMODE": "SLICER", "GRATING": "4000-K"}
    arc = store(tmp_path).select(setup, SHAPE, "utr", NOON).arc
    assert (arc.status, arc.name) == ("OK", "arc_1.fits")
    assert store(tmp_path).select({**setup, "GRATING": "8000-K"}, SHAPE, "utr", NOON).arc.status == "MISMATCH"
    image = store(tmp_path).select({**setup, "INSTMODE": "IMG"}, SHAPE, "utr", NOON).arc
    assert (image.status, image.note) == ("NA", "the frame holds no spectra")


def test_a_set_knows_its_types_and_no_others(tmp_path: Path) -> None:
    chosen = store(cache(tmp_path)).select(SETUP, SHAPE, "utr", NOON)
    assert chosen.applied(Dark) is chosen.dark.reference
    assert chosen.applied(Sky) is None
    assert copy.copy(chosen).dark is chosen.dark
    with pytest.raises(AttributeError, match="has no 'drak'; types are badpix, saturation"):
        chosen.drak  # noqa: B018


@pytest.mark.parametrize(
    ("own", "mode", "status"),
    [
        ("UTR", "utr", "OK"),
        ("OLS", "utr", "OK"),
        ("MCD", "mcds", "OK"),
        ("CDS", "utr", "STALE"),
        ("UTR", "cds", "MISMATCH"),
        ("UTR", "mcds", "MISMATCH"),
        ("DEFAULT", "cds", "OK"),
        ("N/A", "cds", "OK"),
    ],
)
def test_a_dark_of_another_read_mode_serves_a_slope_only(tmp_path: Path, own: str, mode: str, status: str) -> None:
    chosen = dark_of(store(cache(tmp_path, READMODE=own)), mode)
    assert chosen.status == status
    assert (chosen.reference is not None) == (status in ("OK", "STALE"))
    assert chosen.note == ("" if status == "OK" else f"READMODE is {own}, the frame's {mode.upper()}")


def test_a_dummy_is_not_applied(tmp_path: Path) -> None:
    chosen = dark_of(store(cache(tmp_path, PEDIGREE="DUMMY 01/01/2027")))
    assert (chosen.status, chosen.reference, chosen.name) == ("DUMMY", None, "dark_2.fits")
    assert chosen.note == "PEDIGREE is DUMMY: it holds no measurement"


def test_old_references_are_applied_and_marked(tmp_path: Path) -> None:
    chooser = store(cache(tmp_path))
    week = 7 * 24 * HOUR
    assert dark_of(chooser, time_ns=NOON - HOUR + week).status == "OK"
    old = dark_of(chooser, time_ns=NOON - HOUR + week + 10**9)
    assert (old.status, old.age_s, old.note) == ("STALE", 604801.0, "604801 s before the exposure; 604800 s is fresh")
    assert old.reference is not None


def test_a_file_dated_after_the_exposure_is_marked_though_the_rule_is_earlier(tmp_path: Path) -> None:
    folder = cache(tmp_path) / "references" / "tmt" / "iris"
    write_reference(folder / "dark_2.fits", "dark", USEAFTER="2027-01-01 13:00:00")
    chosen = dark_of(store(tmp_path))
    assert (chosen.status, chosen.age_s, chosen.note) == ("STALE", -3600.0, "its date is 3600 s after the exposure")


@pytest.mark.parametrize(("cards", "age"), [({"DATE_OBS": "2027-01-01T10:00:00"}, 7200.0), ({}, 3600.0)])
def test_the_age_is_by_useafter_else_date_obs_else_the_rule(tmp_path: Path, cards: dict[str, str], age: float) -> None:
    folder = cache(tmp_path) / "references" / "tmt" / "iris"
    write_reference(folder / "dark_2.fits", "dark", USEAFTER="", **cards)
    assert dark_of(store(tmp_path)).age_s == age


@pytest.mark.parametrize(("key", "value"), [("FILTER", "H"), ("GRATING", "R4000"), ("SCALE", 9), ("DETECTOR", "IMG2")])
def test_a_sky_of_another_setup_is_never_applied_by_rules(tmp_path: Path, key: str, value: Any) -> None:
    text = rmap_text("UseAfter({ '2027-01-01 11:50:00' : 'sky_1.fits' })", "(('META.DATE',),)", "SKY")
    write_cache(tmp_path, {"SKY": text})
    cards = {"FILTER": "Br_Gamma", "GRATING": "MIRROR", "SCALE": 4.0, "DETECTOR": "IMG1"}
    path = tmp_path / "references" / "tmt" / "iris" / "sky_1.fits"
    write_reference(path, "sky", **{**cards, "USEAFTER": "2027-01-01 11:50:00"})
    setup = {**SETUP, "FILTER": "BrGamma", "GRATING": "mirror", "SCALE": "4"}
    fits_well = store(tmp_path).select(setup, SHAPE, "utr", NOON).sky
    assert (fits_well.status, fits_well.note) == ("OK", "")
    chosen = store(tmp_path).select({**setup, key: value}, SHAPE, "utr", NOON).sky
    assert (chosen.status, chosen.reference) == ("MISMATCH", None)
    assert chosen.note.startswith(f"{key} is ")
    forced = store(tmp_path, override={"sky": str(path)}).select({**setup, key: value}, SHAPE, "utr", NOON).sky
    assert (forced.status, isinstance(forced.reference, Sky)) == ("STALE", True)
    assert forced.note.startswith(f"override; {key} is ")


def test_overrides_work_without_any_cache(tmp_path: Path) -> None:
    path = write_reference(tmp_path / "mine.fits", "dark", value=5.0, USEAFTER="2027-01-01 13:00:00", READMODE="UTR")
    chooser = store(None, override={"dark": str(path), "sky": "n/a"})
    assert chooser.preload() == ["no CRDS cache configured"]
    chosen = chooser.select(SETUP, SHAPE, "utr", NOON)
    assert isinstance(chosen.dark.reference, Dark)
    assert (chosen.dark.status, chosen.dark.note, chosen.dark.age_s) == ("OK", "override", -3600.0)
    assert (chosen.sky.status, chosen.sky.note) == ("NA", "override")
    assert (chosen.flat.status, chosen.flat.note) == ("MISSING", "no CRDS cache configured")
    assert (chosen.crds_context, chosen.crds_sha1) == ("", "")
    assert chooser.select(SETUP, SHAPE, "cds", NOON).dark.status == "STALE"
    assert chooser.select(SETUP, (4, 4), "utr", NOON).dark.status == "MISMATCH"


def test_an_override_wins_over_the_rules_and_its_faults_are_said(tmp_path: Path) -> None:
    path = write_reference(tmp_path / "mine.fits", "dark", PEDIGREE="DUMMY", USEAFTER="")
    chosen = dark_of(store(cache(tmp_path), override={"dark": str(path)}))
    assert (chosen.status, chosen.name) == ("STALE", "mine.fits")
    assert chosen.note == (
        "override; PEDIGREE is DUMMY: it holds no measurement; of unknown age: no USEAFTER or DATE-OBS"
    )
    gone = dark_of(store(cache(tmp_path), override={"dark": str(tmp_path / "gone.fits")}))
    assert (gone.status, gone.name) == ("MISSING", "gone.fits")
    assert gone.note.startswith("override; ")
    assert "no such file; check the path" in gone.note
    problems = store(cache(tmp_path), override={"dark": str(tmp_path / "gone.fits")}).preload()
    assert len(problems) == 1
    assert "gone.fits: no such file" in problems[0]


def test_the_environment_is_taken_where_the_configuration_is_silent(tmp_path: Path) -> None:
    cache(tmp_path)
    write_cache(tmp_path, {}, {"DARK": "N/A"}, serial=12)
    environ = {"CRDS_PATH": str(tmp_path)}
    assert store(environ=environ).crds_context == "tmt_0012.pmap"  # the newest
    named = {**environ, "CRDS_CONTEXT": "tmt_0001.pmap"}
    assert store(environ=named).crds_context == "tmt_0001.pmap"
    assert store(environ=named, context="tmt_0012.pmap").crds_context == "tmt_0012.pmap"
    assert store(tmp_path, environ={"CRDS_PATH": "/nowhere"}).crds_context == "tmt_0012.pmap"


@pytest.mark.parametrize("changes", [{"context": "tmt_0099.pmap"}, {"observatory": "jwst"}])
def test_a_context_that_is_not_there_is_said_and_stops_nothing(tmp_path: Path, changes: dict[str, str]) -> None:
    chooser = store(cache(tmp_path), **changes)
    problems = chooser.preload()
    assert len(problems) == 1
    assert "no such file in" in problems[0] or "no context in" in problems[0]
    chosen = chooser.select({**SETUP, "INSTMODE": "SLICER"}, SHAPE, "utr", NOON).chosen()
    assert all(one.note == problems[0] for one in chosen)


def test_an_unchecked_context_says_so(tmp_path: Path) -> None:
    cache(tmp_path)
    pmap = tmp_path / "mappings" / "tmt" / "tmt_0001.pmap"
    pmap.write_text(pmap.read_text() + "\n# changed\n")
    assert "sha1sum is" in store(tmp_path).preload()[0]
    assert store(tmp_path, check_sha1=False).crds_sha1.endswith(" unchecked")


def test_memory_is_bounded_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache(tmp_path)
    folder = tmp_path / "references" / "tmt" / "iris"
    shape = (256, 256)  # three images of 256 KiB
    for name in ("dark_1.fits", "dark_2.fits"):
        write_reference(folder / name, "dark", shape=shape)
    chooser = store(tmp_path, memory_mb=1)
    problems = chooser.preload()
    assert problems == ["dark_1.fits is not loaded yet: memory_mb = 1 is reached"]
    first = store(tmp_path, memory_mb=1, expect=[SETUP])
    assert first.preload(now_ns=NOON - 2 * HOUR) == ["dark_2.fits is not loaded yet: memory_mb = 1 is reached"]
    assert "dark_1.fits" in {reference.name for reference in first.held()}
    late, early = chooser.select(SETUP, shape, "utr", NOON), chooser.select(SETUP, shape, "utr", NOON - 2 * HOUR)
    assert (late.dark.name, early.dark.name) == ("dark_2.fits", "dark_1.fits")
    assert early.dark.reference is not None  # on demand, in the place of the other
    write_reference(folder / "dark_2.fits", "dark", shape=(512, 512))
    large = store(tmp_path, memory_mb=1).select(SETUP, (512, 512), "utr", NOON).dark
    assert (large.status, "3 MiB are more than memory_mb = 1; raise it" in large.note) == ("MISSING", True)


def test_rules_may_not_point_out_of_the_cache(tmp_path: Path) -> None:
    text = rmap_text("Match({ 'IMG1' : '../../../secret.fits', 'IMG2' : ('a.fits', 'b.fits') })", PARKEY)
    write_cache(tmp_path, {"DARK": text})
    assert "rules may not point out of the cache" in dark_of(store(tmp_path)).note
    assert "not one file" in dark_of(store(tmp_path), DETECTOR="IMG2").note


@pytest.mark.parametrize(
    ("setup", "time_ns"),
    [
        ({}, NOON),
        ({"INSTRUME": "../..", "DETECTOR": "\x00"}, NOON),
        ({"DETECTOR": float("nan"), "INSTRUME": True}, NOON),
        (SETUP, 0),
        (SETUP, 2**62),
        (SETUP, 10**30),
    ],
)
def test_select_never_raises(tmp_path: Path, setup: dict[str, Any], time_ns: int) -> None:
    chosen = store(cache(tmp_path)).select(setup, SHAPE, "utr", time_ns)
    assert all(one.reference is None or one.status in ("OK", "STALE") for one in chosen.chosen())


def test_even_a_fault_of_our_own_is_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("x" * 5000)

    monkeypatch.setattr("refcache.choosing.judge", fail)
    chosen = dark_of(store(cache(tmp_path)))
    assert chosen.status == "MISSING"
    assert chosen.note.startswith("ZeroDivisionError: xxx")
    assert len(chosen.note) == MAX_NOTE


def test_the_flat_form_of_a_cache_is_read(tmp_path: Path) -> None:
    folder = cache(tmp_path) / "references" / "tmt"
    (folder / "iris" / "dark_2.fits").rename(folder / "dark_2.fits")
    assert dark_of(store(tmp_path)).status == "OK"


def test_a_frame_keeps_its_reference_whatever_happens_to_the_file(tmp_path: Path) -> None:
    chooser = store(cache(tmp_path))
    before = dark_of(chooser)
    (tmp_path / "references" / "tmt" / "iris" / "dark_2.fits").unlink()
    after = dark_of(chooser)
    assert isinstance(before.reference, Dark)
    assert after.reference is before.reference
    assert np.isfinite(before.reference.rate).all()


SKIES = "ClosestTime({ '2027-01-01 10:00:00' : 'early.fits', '2027-01-01 14:30:00' : 'late.fits' })"


def test_a_reference_from_the_future_is_refused_unless_the_configuration_allows_it(tmp_path: Path) -> None:
    write_cache(tmp_path, {"SKY": rmap_text(f"Match({{ 'IMG1' : {SKIES} }})", PARKEY, "SKY")})
    for name in ("early.fits", "late.fits"):
        write_reference(tmp_path / "references" / "tmt" / "iris" / name, "sky", USEAFTER="2027-01-01 10:00:00")
    live, replay = store(tmp_path), store(tmp_path, allow_future=True)

    def sky(chooser: ReferenceStore, time_ns: int) -> Chosen:
        return chooser.select(SETUP, SHAPE, "utr", time_ns).sky

    chosen = sky(live, NOON + HOUR)
    assert chosen.name == "early.fits"
    assert "late.fits of 2027-01-01 14:30:00 is the nearest but from after the exposure" in chosen.note
    assert sky(replay, NOON + HOUR).name == "late.fits"
    none_before = sky(live, NOON - 3 * HOUR)
    assert none_before.status == "MISSING"
    assert "early.fits of 2027-01-01 10:00:00 is the nearest but from after" in none_before.note
    assert sky(replay, NOON - 3 * HOUR).name == "early.fits"
    later = sky(live, NOON + 3 * HOUR)
    assert (later.name, "is the nearest but" in later.note) == ("late.fits", False)
