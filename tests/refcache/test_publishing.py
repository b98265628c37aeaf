import threading
from pathlib import Path
from typing import Any

import pytest

from refcache import CrdsContext, RefcacheError, RefcacheSettings
from refcache import publishing as module
from refcache.errors import ConflictError, InsertionError, LayoutError, LfsPointerError
from refcache.planning import plan, read_candidate, reference_folder
from refcache.publishing import add, publish
from tests.crds_cache import rmap_text, settings, write_cache, write_reference

PARKEY = "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))"


def cache(root: Path) -> RefcacheSettings:
    rmaps = {kind: rmap_text("Match({})", PARKEY, kind) for kind in ("DARK", "FLAT", "MASK")}
    write_cache(root, rmaps, {"SKY": "N/A"})
    return settings(path=str(root))


def reference(path: Path, reftype: str = "dark", **cards: Any) -> Path:
    given = {"DETECTOR": "IMG1", "INSTRUME": "IRIS", "USEAFTER": "2027-01-01 00:00:00", **cards}
    return write_reference(path, reftype, **given)


def state(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_several_references_make_one_new_context(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    before = state(tmp_path / "cache")
    files = [
        reference(tmp_path / "d1.fits"),
        reference(tmp_path / "d2.fits", DETECTOR="IMG2"),
        reference(tmp_path / "f.fits", "flat"),
    ]
    made = add(tmp_path / "cache", table, "", [read_candidate(path, table) for path in files])
    assert (made.context, made.old_context) == ("tmt_0002.pmap", "tmt_0001.pmap")
    assert list(made.texts) == [
        "tmt_iris_dark_0002.rmap",
        "tmt_iris_flat_0002.rmap",
        "tmt_iris_0002.imap",
        "tmt_0002.pmap",
    ]
    after = state(tmp_path / "cache")
    assert {name: after[name] for name in before} == before
    assert after["references/tmt/iris/d1.fits"] == files[0].read_bytes()
    context = CrdsContext.load(tmp_path / "cache", made.context, check_sha1=True)
    assert list(context.problems()) == []
    for path, detector, reftype in zip(files, ("IMG1", "IMG2", "IMG1"), ("dark", "dark", "flat"), strict=True):
        asked = {"META.INSTRUMENT.NAME": "IRIS", "META.INSTRUMENT.DETECTOR": detector}
        asked |= {"META.OBSERVATION.DATE": "2027-02-01", "META.OBSERVATION.TIME": "00:00:00"}
        assert context.select(asked, reftype).name == path.name  # type: ignore[union-attr]
    assert not [name for name in after if "/." in name]  # no temporary file stays


def test_a_plan_writes_nothing_and_shows_the_difference(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    before = state(tmp_path / "cache")
    made = plan(tmp_path / "cache", table, "tmt_0001.pmap", [read_candidate(reference(tmp_path / "d.fits"), table)])
    assert state(tmp_path / "cache") == before
    shown = made.difference().splitlines()
    assert "--- tmt_iris_dark_0001.rmap" in shown
    assert "+++ tmt_iris_dark_0002.rmap" in shown
    assert "+        '2027-01-01 00:00:00' : 'd.fits'," in shown
    assert "+    'IRIS' : 'tmt_iris_0002.imap'," in shown


def test_the_names_of_types_are_ours_or_those_of_the_rules(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    path = reference(tmp_path / "m.fits", "badpix", REFTYPE="DQ")  # the rules call it MASK
    made = plan(tmp_path / "cache", table, "tmt_0001.pmap", [read_candidate(path, table)])
    assert "tmt_iris_mask_0002.rmap" in made.texts


def test_an_older_context_may_be_taken_as_the_start(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    for number in (1, 2):
        candidate = read_candidate(reference(tmp_path / f"d{number}.fits", DETECTOR=f"IMG{number}"), table)
        made = add(tmp_path / "cache", table, "tmt_0001.pmap", [candidate])
    assert (made.context, made.old_context) == ("tmt_0003.pmap", "tmt_0001.pmap")
    assert "d1.fits" not in made.texts["tmt_iris_dark_0003.rmap"]


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        ({"INSTRUME": "WFOS"}, r"tmt_0001\.pmap has no instrument 'WFOS'; it has IRIS"),
        ({"REFTYPE": "ARC"}, r"tmt_iris_0001\.imap has no type 'ARC'; it has DARK, FLAT, MASK, SKY"),
        ({"REFTYPE": ""}, "has no REFTYPE card; set it, or give --reftype"),
    ],
)
def test_a_file_that_fits_nowhere_is_refused(tmp_path: Path, cards: dict[str, str], text: str) -> None:
    table = cache(tmp_path / "cache")
    candidate = read_candidate(reference(tmp_path / "d.fits", **cards), table)
    with pytest.raises(InsertionError, match=text):
        plan(tmp_path / "cache", table, "tmt_0001.pmap", [candidate])


def test_a_type_that_has_no_rules_is_refused(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    candidate = read_candidate(reference(tmp_path / "s.fits", "sky"), table)
    with pytest.raises(InsertionError, match="says N/A for type SKY; change that first"):
        plan(tmp_path / "cache", table, "tmt_0001.pmap", [candidate])


def test_two_files_of_the_same_values_and_date_are_refused(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    candidates = [read_candidate(reference(tmp_path / name), table) for name in ("a.fits", "b.fits")]
    with pytest.raises(InsertionError, match=r"a\.fits: another of these files has the same values and date"):
        plan(tmp_path / "cache", table, "tmt_0001.pmap", candidates)


def test_another_file_of_the_same_name_is_not_replaced(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    there = reference(tmp_path / "cache" / "references" / "tmt" / "iris" / "d.fits", value=5.0)
    before = there.read_bytes()
    candidate = read_candidate(reference(tmp_path / "d.fits"), table)
    with pytest.raises(InsertionError, match="is another file of that name; rename one"):
        add(tmp_path / "cache", table, "", [candidate])
    assert there.read_bytes() == before


def test_a_file_that_is_not_usable_is_refused_before_anything_else(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    (tmp_path / "lfs.fits").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    with pytest.raises(LfsPointerError):
        read_candidate(tmp_path / "lfs.fits", table)
    whole = reference(tmp_path / "cut.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[:-2880])
    with pytest.raises(RefcacheError, match="truncated or damaged"):
        read_candidate(tmp_path / "cut.fits", table)
    with pytest.raises(LayoutError, match="DATA: no such extension"):
        read_candidate(reference(tmp_path / "b.fits", "badpix", REFTYPE="DARK"), table)


def test_the_cache_says_where_references_lie(tmp_path: Path) -> None:
    assert reference_folder(tmp_path, "tmt", "IRIS") == tmp_path / "references" / "tmt" / "iris"
    (tmp_path / "config" / "tmt").mkdir(parents=True)
    (tmp_path / "config" / "tmt" / "ref_cache_subdir_mode").write_text("flat\n")
    assert reference_folder(tmp_path, "tmt", "IRIS") == tmp_path / "references" / "tmt"


def test_a_writer_that_is_too_late_leaves_no_mapping_and_begins_again(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    candidates = [[read_candidate(reference(tmp_path / f"d{n}.fits", DETECTOR=f"IMG{n}"), table)] for n in (1, 2)]
    plans = [plan(tmp_path / "cache", table, "tmt_0001.pmap", candidate) for candidate in candidates]
    publish(tmp_path / "cache", "tmt", plans[0])
    before = state(tmp_path / "cache" / "mappings")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "cache", "tmt", plans[1])
    assert state(tmp_path / "cache" / "mappings") == before
    made = add(tmp_path / "cache", table, "", candidates[1])
    assert made.context == "tmt_0003.pmap"
    assert all(name in made.texts["tmt_iris_dark_0003.rmap"] for name in ("d1.fits", "d2.fits"))


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    table = cache(tmp_path / "cache")
    count = 6
    candidates = [
        read_candidate(reference(tmp_path / f"d{n}.fits", ("dark", "flat")[n % 2], DETECTOR=f"IMG{n}"), table)
        for n in range(count)
    ]
    errors: list[Exception] = []
    barrier = threading.Barrier(count)

    def write(number: int) -> None:
        barrier.wait()
        try:
            add(tmp_path / "cache", table, "", [candidates[number]])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    context = CrdsContext.load(tmp_path / "cache", f"tmt_{count + 1:04d}.pmap", check_sha1=True)
    named = {name for kind in ("dark", "flat") for name in context.rules("iris", kind).file_names()}  # type: ignore[union-attr]
    assert named == {f"d{n}.fits" for n in range(count)}


def test_a_writer_that_is_always_too_late_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = cache(tmp_path / "cache")
    candidate = read_candidate(reference(tmp_path / "d.fits"), table)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)

    def late(*_: object) -> None:
        raise FileExistsError

    monkeypatch.setattr(module, "publish", late)
    with pytest.raises(ConflictError, match=r"others add to .* all the time; tried 2 times"):
        add(tmp_path / "cache", table, "", [candidate])


def test_a_disk_without_links_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr("os.link", refuse)
    table = cache(tmp_path / "cache")
    made = add(tmp_path / "cache", table, "", [read_candidate(reference(tmp_path / "d.fits"), table)])
    assert list(CrdsContext.load(tmp_path / "cache", made.context, check_sha1=True).problems()) == []
    with pytest.raises(FileExistsError):
        publish(tmp_path / "cache", "tmt", made)
