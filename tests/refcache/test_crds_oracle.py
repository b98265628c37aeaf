"""Random rules, headers and references: CRDS itself says what is right (client 14.0)."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from refcache import CrdsContext, RefcacheError
from refcache.answers import Questions
from refcache.planning import plan, read_candidate
from tests.crds_cache import rmap_text, settings, write_cache, write_reference
from tests.crds_oracle import ask_crds, certify

KEYS = {
    "DETECTOR": ["IMG1", "IMG2", "IMG3", "IFS"],
    "FILTER": ["K", "H", "J", "BrGamma", "K10"],
    "ITIME": ["5", "10.0", "30", "1e2", "-2"],
    "SUBARRAY": ["FULL", "GENERIC", "SUB1"],
}
FORMS = {
    "DETECTOR": ["IMG1|IMG2", "IMG*", "(IMG[12])", "{IMG1}", "NOT IMG1", "N/A", "*", "ANY", "IMG1 | IFS"],
    "FILTER": ["K|H", "K*", "*Gamma", "(K1?0?)", "not K", "N/A", "*", "#K OR H#", "J?|K"],
    "ITIME": ["BETWEEN 5 30", ">10", "<=10", "# >5 and <=30 #", "N/A", "*", "between 0 10", "not >20"],
    "SUBARRAY": ["N/A", "*", "FULL|SUB1", "ANY"],
}
DATES = ["2026-01-01 00:00:00", "2026-06-01 12:00:00", "2027-01-01 00:00:00", "2027-03-01", "2027-03-01 06:30:00"]
ODD = ["N/A", "ANY", "*", "UNDEFINED", "", "weird", "NOT K", "T", "7.5", "nan", "IMG1|IMG2", "(K)", "5:7", "true"]
WHEN = [
    *("2026-03-01T00:00:00", "2027-03-01 06:30:00.5", "2025-01-01", "2031/02/01 03:00", "01-02-27", "Mar 21 2027"),
    *("20270301:063000", "2027-03-01T06:30:00Z", "61000.5", "UNDEFINED", "12/31/2026 11:00:00 PM", "2027-02-30"),
]
CONDITIONS = {
    "rmap_relevance": ['(DETECTOR != "IFS")', "ALWAYS", '(ITIME in ("5.0", "10.0") or FILTER == "K")', "(NOSUCH == 1)"],
    "rmap_omit": ['(FILTER == "H" and DETECTOR == "IMG2")', '(SWITCH == "OMIT")'],
}


def selector(pick: random.Random, name: str, kind: str) -> str:
    """The text of one selector below a Match, of random rules."""
    files = [repr(f"{name}_{pick.randrange(100)}.fits") for _ in range(3)] + ["'N/A'", "'OMIT'", "('a.fits', 'b.fits')"]
    keys: dict[str, list[Any]] = {
        "UseAfter": DATES,
        "ClosestTime": DATES,
        "VersionAfter": ["1.0", "1.2.3", "2", "10.0.1"],
        "SelectVersion": ["<1.5", "<3", "=4", "default"],
        "GeometricallyNearest": [1.0, 1.5, 2.2, 10],
        "Bracket": [1.0, 1.5, 2.2, 10],
    }
    chosen = pick.sample(keys[kind], pick.randint(1, 4))
    return f"{kind}({{ {', '.join(f'{key!r} : {pick.choice(files)}' for key in chosen)} }})"


def rmap(pick: random.Random, kind: str, name: str) -> str:
    """An rmap whose Match leads to selectors of one kind."""
    parameters = pick.sample(sorted(KEYS), pick.randint(1, 3))
    rules = {}
    for _ in range(pick.randint(1, 7)):
        key = tuple(pick.choice(KEYS[one] + FORMS[one]) for one in parameters)
        leaf = selector(pick, name.lower(), kind) if pick.random() < 0.95 else repr(f"{name.lower()}.fits")
        rules[key if len(key) > 1 else key[0]] = leaf
    below = {"UseAfter": pick.choice(["('DATE-OBS', 'TIME-OBS')", "('META.DATE',)"]), "ClosestTime": "('META.DATE',)"}
    extra = "    'extra_keys' : ('SWITCH',),\n" if pick.random() < 0.5 else ""
    for condition, texts in CONDITIONS.items():
        if pick.random() < 0.3:
            extra += f"    {condition!r} : {pick.choice(texts)!r},\n"
    if pick.random() < 0.2:
        extra += "    'merge_overlaps' : 'False',\n"
    if pick.random() < 0.2:
        extra += "    'reffile_required' : 'NO',\n"
    if pick.random() < 0.3:
        extra += f"    'parkey_relevance' : {{ '{parameters[0].lower()}' : '(FILTER != \"H\")' }},\n"
        extra = extra.replace("FILTER", parameters[0])
    if pick.random() < 0.3:
        extra += "    'substitutions' : { 'FILTER' : { 'BrGamma' : 'K' }, 'DETECTOR' : { 'IFS' : 'N/A' } },\n"
    parkey = f"({tuple(parameters)!r}, {below.get(kind, repr(('WAVE',)))})"
    text = "Match({ " + ", ".join(f"{key!r} : {leaf}" for key, leaf in rules.items()) + " })"
    return rmap_text(text, parkey, name, extra)


def header(pick: random.Random) -> dict[str, Any]:
    """A header of likely and unlikely values."""
    asked: dict[str, Any] = {"META.INSTRUMENT.NAME": pick.choice(["IRIS"] * 20 + ["iris", "WFOS", "UNDEFINED"])}
    for key, values in KEYS.items():
        asked[key] = pick.choice(values * 3 + ODD)
        if pick.random() < 0.03:
            del asked[key]
    asked["WAVE"] = pick.choice(
        ["0.5", "1.0", "1.25", "1.5", 2, "4", "3.0", "11", "UNDEFINED", "1.2.3", "default", "x"]
    )
    asked["SWITCH"] = pick.choice(["PERFORM", "OMIT"])
    when = pick.choice([*DATES, *DATES, *WHEN])
    asked["META.DATE"] = when
    asked["DATE-OBS"], _, time = when.replace("T", " ", 1).partition(" ")
    asked["TIME-OBS"] = time or "00:00:00"
    return asked


@pytest.mark.parametrize("seed", [1])
def test_random_rules_are_answered_as_by_crds(tmp_path: Path, seed: int) -> None:
    pick = random.Random(seed)
    kinds = ("UseAfter", "UseAfter", "ClosestTime", "VersionAfter", "SelectVersion", "GeometricallyNearest", "Bracket")
    questions = []
    for serial, kind in enumerate(kinds * 4, start=1):  # each in a context of its own, as some are broken
        name = f"{kind[:6].upper()}{serial}"
        write_cache(tmp_path, {name: rmap(pick, kind, name)}, {"NONE": "N/A", "OFF": "OMIT"}, serial)
        types = [name] * 25 + ["NONE", "OFF", "nosuch"]
        questions += [(f"tmt_{serial:04d}.pmap", header(pick), reftype) for reftype in types]
    expected, _ = ask_crds(tmp_path, questions=questions)
    asked = Questions(tmp_path)
    wrong = []
    for (context, given, name), (kind, value) in zip(questions, expected, strict=True):
        if "<" in str(value):
            continue  # CRDS returns selectors among the names; that is no answer
        answer = asked.answer({"context": context, "header": given, "reftype": name})
        same = answer["kind"] == kind and value in (
            "internal",
            answer["family"] if kind == "error" else answer["value"],
        )
        if not same:
            wrong.append((name, given, kind, value, answer))
    assert wrong == []
    assert {kind for kind, _ in expected} == {"file", "files", "na", "omit", "error"}
    assert {value for kind, value in expected if kind == "error"} >= {"no_match", "bad_input", "unknown", "ambiguous"}


def test_references_are_inserted_as_by_crds(tmp_path: Path) -> None:
    pick = random.Random(3)
    rules = "Match({ ('IMG1', 'K|H') : UseAfter({ '2026-01-01 00:00:00' : 'a.fits' }), ('IMG2', 'N/A') : 'b.fits' })"
    parkey = "(('DETECTOR', 'FILTER'), ('DATE-OBS', 'TIME-OBS'))"
    once = "UseAfter({ '2026-01-01 00:00:00' : 'd.fits' })"
    skies = "Match({ 'IMG1' : ClosestTime({}) })"
    write_cache(
        tmp_path,
        {
            "DARK": rmap_text(rules, parkey, extra="    'comment_parkeys' : ('FILTER',),\n"),
            "FLAT": rmap_text(rules, parkey, "FLAT", "    'classes' : ('Match', 'UseAfter'),\n"),
            "ARC": rmap_text(once, "(('META.DATE',),)", "ARC", "    'classes' : ('UseAfter',),\n"),
            "SKY": rmap_text(
                skies, "(('DETECTOR',), ('META.DATE',))", "SKY", "    'classes' : ('Match', 'ClosestTime'),\n"
            ),
        },
    )
    table = settings(path=str(tmp_path), aliases={})
    made, files = [], []
    for number in range(16):
        reftype = pick.choice(["dark", "flat", "flat", "flat", "sky", "arc"])
        cards = {"DETECTOR": pick.choice(["IMG1", "IMG1", "IMG1|IMG2", "N/A", "ANY"])}
        cards |= {"FILTER": pick.choice(["K", "H", "H|K", "ks", "ANY"])}
        cards |= {"USEAFTER": pick.choice(["2026-01-01 00:00:00", "2027-03-01T08:00:00", "2027-03-01T08:00:00.25"])}
        path = write_reference(tmp_path / f"r{number}.fits", "dark" if reftype == "arc" else reftype, **cards)
        try:
            planned = plan(tmp_path, table, "tmt_0001.pmap", [read_candidate(path, table, reftype)], reftype)
            made.append(next(text for name, text in planned.texts.items() if name.endswith(".rmap")))
        except RefcacheError:
            made.append("")
        files.append([f"tmt_iris_{reftype}_0001.rmap", str(path)])
    _, expected = ask_crds(tmp_path, insertions=files)
    assert [body(text) for text in made] == [body(text) for text in expected]
    assert 0 < expected.count("") < 16


def body(text: str) -> list[str]:
    """A mapping's lines without those that tell where it comes from: CRDS's command leaves the name to others."""
    return [
        line for line in text.splitlines() if not any(f"'{key}'" in line for key in ("name", "derived_from", "sha1sum"))
    ]


def test_what_is_published_is_accepted_by_crds(tmp_path: Path) -> None:
    from refcache.publishing import add

    write_cache(tmp_path, {"DARK": rmap_text("Match({})", "(('DETECTOR',), ('META.DATE',))")})
    table = settings(path=str(tmp_path))
    path = write_reference(tmp_path / "new.fits", "dark", DETECTOR="IMG1", INSTRUME="IRIS", USEAFTER="2027-01-01")
    made = add(tmp_path, table, "", [read_candidate(path, table)])
    asked = {"META.INSTRUMENT.NAME": "IRIS", "DETECTOR": "IMG1", "META.DATE": "2027-05-01"}
    answers, _ = ask_crds(tmp_path, questions=[[made.context, asked, "dark"]])  # it compares all checksums
    assert answers == [["file", "new.fits"]]
    assert CrdsContext.load(tmp_path, made.context, check_sha1=True).select(asked, "dark").name == "new.fits"  # type: ignore[union-attr]
    names = ("tmt_0002.pmap", "tmt_iris_0002.imap", "tmt_iris_dark_0002.rmap")
    mappings = [tmp_path / "mappings" / "tmt" / name for name in names]
    assert certify(tmp_path, "tmt_0001.pmap", mappings) == ["", "", ""]
    text = mappings[2].read_text()
    date = re.search(r"'2027-01-01[^']*'", text)
    assert date is not None
    for wrong in (f"{date[0]} : 'other.fits',\n        {date[0]}", "'2027-13-01'"):
        mappings[2].write_text(text.replace(date[0], wrong, 1))
        assert certify(tmp_path, "tmt_0001.pmap", mappings)[2] != ""  # CRDS does look
