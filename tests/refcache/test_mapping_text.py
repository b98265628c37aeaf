import pytest
from hypothesis import given
from hypothesis import strategies as st

from refcache.errors import BadRulesError
from refcache.mapping_text import MappingText, RuleText, next_name
from refcache.mappings import mapping_sha1, parse_mapping
from tests.crds_cache import rmap_text

TEXT = '''# lost, as by CRDS
comment = """ why
this is so """

header = {
    'name' : 'tmt_iris_dark_0001.rmap', 'sha1sum' : 'wrong',
    'derived_from' : 'by hand',
    'filekind' : 'DARK',
    'instrument' : 'IRIS',
    'mapping' : 'REFERENCE',
    'observatory' : 'TMT',
    'parkey' : (('DETECTOR',), ('META.DATE',)),
    'row_keys' : ['A', 'B'],
    'substitutions' : { 'DETECTOR' : { 'IFS' : 'N/A' } },
}
selector = Match({
    ('IMG2',) : UseAfter({'2026-01-01 00:00:00' : 'b.fits', "2025-01-01" : 'a.fits'}),
    4 : ('c.fits', 'd.fits'), 'IMG1' : 'N/A',
})
'''
FORMATTED = '''header = {
    'derived_from' : 'by hand',
    'filekind' : 'DARK',
    'instrument' : 'IRIS',
    'mapping' : 'REFERENCE',
    'name' : 'tmt_iris_dark_0001.rmap',
    'observatory' : 'TMT',
    'parkey' : (('DETECTOR',), ('META.DATE',)),
    'row_keys' : ['A', 'B'],
    'sha1sum' : '%s',
    'substitutions' : {
        'DETECTOR' : {
            'IFS' : 'N/A',
        },
    },
}

comment = """ why
this is so """

selector = Match({
    4 : ('c.fits', 'd.fits'),
    'IMG1' : 'N/A',
    ('IMG2',) : UseAfter({
        '2025-01-01' : 'a.fits',
        '2026-01-01 00:00:00' : 'b.fits',
    }),
})
'''


def test_the_form_is_that_of_crds_and_the_checksum_right() -> None:
    text = MappingText.parse(TEXT, "tmt_iris_dark_0001.rmap").format()
    assert text == FORMATTED % mapping_sha1(FORMATTED)
    assert MappingText.parse(text, "tmt_iris_dark_0001.rmap").format() == text
    parse_mapping(text, "tmt_iris_dark_0001.rmap", check_sha1=True)


def test_a_derived_mapping_says_where_it_comes_from() -> None:
    new = MappingText.parse(TEXT, "tmt_iris_dark_0001.rmap").derived("tmt_iris_dark_0002.rmap")
    assert (new.header["name"], new.header["derived_from"]) == ("tmt_iris_dark_0002.rmap", "tmt_iris_dark_0001.rmap")


def test_code_in_a_mapping_is_refused() -> None:
    with pytest.raises(BadRulesError):
        MappingText.parse("import os\n" + TEXT, "tmt_iris_dark_0001.rmap")


def test_the_names_of_all_forms_are_found() -> None:
    rules = RuleText(
        "Match", {"a": "1.fits", "b": ("2.fits", "3.fits"), "c": {"x": "4.fits"}, "d": RuleText("U", {"e": "5"})}
    )
    assert rules.names() == {"1.fits", "2.fits", "3.fits", "4.fits", "5"}


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("tmt_0001.pmap", {"tmt_0001.pmap"}, "tmt_0002.pmap"),
        ("tmt_0001.pmap", {"tmt_0007.pmap", "tmt_iris_0009.imap", "tmt_0100.imap"}, "tmt_0008.pmap"),
        ("tmt_iris_dark_0009.rmap", {"tmt_iris_dark_9999.rmap", "x.rmap"}, "tmt_iris_dark_10000.rmap"),
        ("tobs.pmap", {"tobs.pmap"}, "tobs_0001.pmap"),
        ("hst_acs_darkfile_ewsc.rmap", set(), "hst_acs_darkfile_ewsc_0001.rmap"),
    ],
)
def test_the_next_name_follows_the_highest(name: str, taken: set[str], expected: str) -> None:
    assert next_name(name, taken) == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_survives(key: str, value: str) -> None:
    text = MappingText.parse(rmap_text(f"Match({{ {key!r} : {value!r} }})", "(('DETECTOR',),)"), "x.rmap").format()
    selector = MappingText.parse(text, "x.rmap").selector
    assert isinstance(selector, RuleText)
    assert selector.rules == {key: value}
