import pytest

from refcache import File, NotApplicable, SelectionError
from refcache.mappings import parse_mapping
from refcache.rmaps import Rmap
from tests.crds_cache import rmap_text


def hst(rules: str, parkey: str, filekind: str, instrument: str, extra: str = "") -> Rmap:
    text = rmap_text(rules, parkey, filekind, extra).replace("'IRIS'", f"'{instrument}'").replace("'TMT'", "'HST'")
    return Rmap(parse_mapping(text, f"hst_{instrument.lower()}_x_0001.rmap", check_sha1=False))


def test_the_aperture_of_a_custom_subarray_of_wfc3_does_not_count() -> None:
    hooked = "    'hooks' : { 'precondition_header' : 'precondition_header_wfc3_biasfile_v1' },\n"
    rules = "Match({ ('N/A', 'UVIS') : 'any.fits', ('N/A', 'UVIS1-SUB') : 'sub.fits' })"
    bias = hst(rules, "(('SUBARRAY', 'APERTURE'),)", "BIASFILE", "WFC3", hooked)
    assert bias.select({"SUBARRAY": "F", "APERTURE": "UVIS"}) == File("any.fits")
    assert bias.select({"SUBARRAY": "T", "APERTURE": "UVIS1-SUB"}) == File("sub.fits")
    with pytest.raises(SelectionError):
        bias.select({"SUBARRAY": "F", "APERTURE": "OTHER"})
    assert bias.select({"SUBARRAY": "T", "APERTURE": "OTHER"}).names == ("any.fits", "sub.fits")  # type: ignore[union-attr]


def test_the_filters_of_wfpc2_are_tried_in_both_orders() -> None:
    rules, parkey = "Match({ ('F1', 'F2') : 'a.fits' })", "(('FILTER1', 'FILTER2'),)"
    asked = {"FILTER1": "F2", "FILTER2": "F1"}
    assert hst(rules, parkey, "FLATFILE", "WFPC2").select(asked) == File("a.fits")
    with pytest.raises(SelectionError):
        hst(rules, parkey, "DARKFILE", "WFPC2").select(asked)


def test_wfc_at_a_gain_that_is_not_calibrated_needs_none() -> None:
    dark = hst("Match({ ('WFC', '1.0') : 'a.fits' })", "(('DETECTOR', 'CCDGAIN'),)", "DARKFILE", "ACS")
    assert isinstance(dark.select({"DETECTOR": "WFC", "CCDGAIN": "0.5"}), NotApplicable)
    for gain in ("2.0", "x"):
        with pytest.raises(SelectionError):
            dark.select({"DETECTOR": "WFC", "CCDGAIN": gain})
