import ast
import hashlib
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from rtcal.spectrograph.arcfile import read_arc
from streams.clock import parse_iso_utc
from streams.dq import Dq
from streams.errors import ReferencesError
from streams.simulator import Simulator, write_references, write_truth
from streams.simulator.truth import NEVER
from tests.data import need
from tests.fakes import FakeClock
from tests.simulated import simulated


class NoClock:
    def monotonic_s(self):
        raise AssertionError

    def tai_ns(self):
        raise AssertionError


@pytest.fixture(scope="module")
def simulator():
    return Simulator(simulated(detectors=["IMG1", "IFS"]), NoClock())


@pytest.fixture(scope="module")
def cache(simulator, tmp_path_factory):
    directory = tmp_path_factory.mktemp("cache") / "new"
    assert write_references(simulator, directory) == "tmt_0001.pmap"
    return directory


def mapping(cache, name):
    """Read a mapping with Python's own parser: header and selector as plain values."""
    text = (cache / "mappings/tmt" / name).read_text()
    kept = "".join(line for line in text.splitlines(keepends=True) if "sha1sum" not in line)
    plain = text.replace("Match(", "(").replace("UseAfter(", "(")
    parts = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(plain).body}
    assert parts["header"]["sha1sum"] == hashlib.sha1(kept.encode()).hexdigest()
    assert parts["header"]["name"] == name
    return parts


def reference(cache, reftype, detector="IMG1"):
    return fits.open(cache / f"references/tmt/iris/tmt_iris_{reftype}_{detector.lower()}_0001.fits")


def test_mappings_lead_from_the_context_to_each_file(cache):
    assert mapping(cache, "tmt_0001.pmap")["selector"] == {"IRIS": "tmt_iris_0001.imap"}
    types = mapping(cache, "tmt_iris_0001.imap")["selector"]
    assert set(types) == {"DARK", "DQ", "SKY", "FLAT", "ARC"}
    for reftype, name in types.items():
        parts = mapping(cache, name)
        assert parts["header"]["filekind"] == reftype
        keys, dates = parts["header"]["parkey"]
        assert dates == ("DATE-OBS", "TIME-OBS")
        for detector in ("IFS",) if reftype == "ARC" else ("IMG1", "IFS"):
            with reference(cache, reftype.lower(), detector) as file:
                header = file[0].header
                values = tuple(str(header[key]) for key in keys)
                assert parts["selector"][values] == {
                    header["USEAFTER"]: f"tmt_iris_{reftype.lower()}_{detector.lower()}_0001.fits"
                }


def test_references_say_what_they_are_and_are_older_than_the_start(cache):
    units = {"dark": "e-/s", "sky": "e-/s", "flat": "1", "dq": None}
    for reftype, unit in units.items():
        with reference(cache, reftype) as file:
            header = file[0].header
            assert (header["INSTRUME"], header["DETECTOR"], header["INSTMODE"]) == ("IRIS", "IMG1", "IMG")
            assert (header["REFTYPE"], header["PEDIGREE"]) == (reftype.upper(), "SIMULATION")
            assert (header["READMODE"], header["FILTER"], header["SUBARRAY"]) == ("UTR", "H", "FULL")
            assert header.get("BUNIT") == unit
            assert parse_iso_utc(header["USEAFTER"]) < parse_iso_utc("2031-01-15T06:00:00")
            names = [hdu.name for hdu in file]
            assert names == ["PRIMARY", *(["DATA", "ERR"] if unit else []), "DQ", "DQ_DEF"]


@pytest.mark.parametrize(("reftype", "detector"), [("dark", "IMG1"), ("sky", "IMG1"), ("sky", "IFS"), ("flat", "IMG1")])
def test_references_are_the_truth_within_their_errors(simulator, cache, reftype, detector):
    chip = simulator.scene.chips[detector]
    truth = {
        "dark": chip.dark_e_per_s,
        "sky": simulator.scene.light(detector, "sky") * chip.flat,
        "flat": chip.flat,
    }[reftype]
    with reference(cache, reftype, detector) as file:
        live = (chip.dq & (Dq.REFERENCE_PIXEL | Dq.DEAD)) == 0
        pull = ((file["DATA"].data - truth) / file["ERR"].data)[live]
        np.testing.assert_array_equal(file["DQ"].data & chip.dq, chip.dq)
    assert pull.mean() == pytest.approx(0, abs=0.02)
    assert pull.std() == pytest.approx(1, abs=0.02)


def test_the_error_of_a_dark_is_that_of_a_long_exposure(cache):
    with reference(cache, "dark") as file:
        middle = np.median(file["ERR"].data)
    assert middle == pytest.approx(np.sqrt(0.025 * 600 + 2 * 81) / 600, rel=0.02)


def test_levels_and_linearity_are_written_if_they_are_asked_for(tmp_path):
    settings = simulated(reference_types=["BIAS", "SATURATION", "NONLINCOEFF"])
    simulator = Simulator(settings, FakeClock())
    write_references(simulator, tmp_path)
    chip = simulator.scene.chips["IMG1"]
    with reference(tmp_path, "bias") as file:
        pull = (file["DATA"].data - chip.bias_dn) / file["ERR"].data
        assert file[0].header["BUNIT"] == "DN"
    assert pull.std() == pytest.approx(1, abs=0.02)
    with reference(tmp_path, "saturation") as file:
        saturated_e = (file["DATA"].data - chip.bias_dn) * settings.gain_e_per_dn
    np.testing.assert_allclose(saturated_e, 90_000 * (1 - 1e-7 * 90_000), rtol=1e-4)
    with reference(tmp_path, "nonlincoeff") as file:
        coefficients, reach = file["COEFFS"].data[:, 9, 9].astype(float), file[0].header["LINMAX"]
    charge = np.linspace(0, 90_000, 10)
    measured = charge * (1 - 1e-7 * charge) / settings.gain_e_per_dn
    assert reach == pytest.approx(measured[-1])
    linear = np.polynomial.polynomial.polyval(measured, coefficients)
    np.testing.assert_allclose(linear * settings.gain_e_per_dn, charge, rtol=2e-5)


def test_the_bad_pixel_map_is_the_chip(simulator, cache):
    with reference(cache, "dq") as file:
        np.testing.assert_array_equal(file["DQ"].data, simulator.scene.chips["IMG1"].dq)


def test_writing_again_replaces_ones_own_references_only(simulator, cache, tmp_path):
    write_references(simulator, cache)
    theirs = tmp_path / "mappings/tmt"
    theirs.mkdir(parents=True)
    (theirs / "tmt_0001.pmap").write_text("header = {}\nselector = {}\n")
    with pytest.raises(ReferencesError, match="belongs to another CRDS cache; choose an empty directory"):
        write_references(simulator, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["tmt_0001.pmap"]


def test_a_directory_that_cannot_be_made_is_said(simulator, tmp_path):
    (tmp_path / "references").write_text("in the way")
    with pytest.raises(ReferencesError, match="cannot be made"):
        write_references(simulator, tmp_path)


@pytest.fixture(scope="module")
def truth_files(tmp_path_factory):
    truths = []
    settings = simulated(detectors=["IMG1", "IFS"], ramps_per_exposure=2, cosmic_rays_per_s_per_cm2=500.0)
    simulator = Simulator(settings, NoClock(), truths.append)
    for _ in simulator.messages():
        pass
    directory = tmp_path_factory.mktemp("truth") / "new"
    return {t.detector: (t, simulator, write_truth(settings, simulator.scene, t, directory)) for t in truths}


def test_truth_files_hold_what_was_put_in(truth_files):
    truth, simulator, path = truth_files["IMG1"]
    assert path.name == "truth_2031A-001-001-IRIS-IMG1-SCI0-0001.fits"
    chip = simulator.scene.chips["IMG1"]
    with fits.open(path) as file:
        np.testing.assert_allclose(file["RATE"].data, truth.rate_e_per_s - chip.dark_e_per_s)
        np.testing.assert_array_equal(file["DARK"].data, chip.dark_e_per_s)
        np.testing.assert_array_equal(file["FLAT"].data, chip.flat)
        np.testing.assert_array_equal(file["BADPIX"].data, chip.dq)
        np.testing.assert_array_equal(file["SATREAD"].data, truth.saturated_from)
        cosmics = file["COSMICS"].data
        assert file["CRELEC"].data.sum() == pytest.approx(cosmics["charge_e"].sum(), rel=1e-5)
        struck = file["CRREAD"].data != NEVER
        assert np.count_nonzero(struck) == len(set(zip(cosmics["y"].tolist(), cosmics["x"].tolist(), strict=True)))
        one = cosmics[0]
        assert file["CRREAD"].data[one["y"], one["x"]] <= one["read"]
        assert len(file["STARS"].data) > 3
        assert file[0].header["NLCOEF_A"] == pytest.approx(1e-7)
        assert file[0].header["DATE-BEG"] == "2031-01-15T06:00:00.000"


def test_truth_of_the_spectrograph_gives_its_wavelengths(truth_files):
    _, simulator, path = truth_files["IFS"]
    with fits.open(path) as file:
        table = file["TRACES"]
        traces = simulator.scene.traces
        np.testing.assert_array_equal(table.data["Y0"], traces.y0_px)
        t = np.arange(table.data["X1"][3] - table.data["X0"][3] + 1)
        bend = table.header["BENDWAVE"] * (t - t[-1] / 2) ** 2
        np.testing.assert_allclose(
            table.data["WAVE0"][3] + table.header["DWAVE"] * t + bend, traces.wavelengths(3), rtol=1e-12
        )


def test_the_arc_holds_the_true_wavelengths_as_the_reduction_reads_them(cache, simulator):
    traces = simulator.scene.traces
    path = cache / "references/tmt/iris/tmt_iris_arc_ifs_0001.fits"
    arc = read_arc(path)
    assert arc.solved.all()
    for index in (0, 7, traces.ix.size - 1):
        np.testing.assert_allclose(arc.centres()[index], traces.wavelengths(index), rtol=1e-12)
    with fits.open(path) as file:
        ident, wave = file["TRACEID"].data, file["WAVE"].data
        y, x = np.nonzero(ident == 7)
        np.testing.assert_allclose(wave[y, x], traces.wavelengths(7)[x - traces.x0_px[7]], rtol=1e-12)
        assert y.size == 2 * traces.length_px
        assert np.isnan(wave[ident == -1]).all()


def test_all_files_are_clean_fits(cache, truth_files):
    need(shutil.which("fitsverify") is not None, "the program fitsverify")
    paths = [*sorted(cache.rglob("*.fits")), *(path for _, _, path in truth_files.values())]
    result = subprocess.run(["fitsverify", "-q", *map(str, paths)], capture_output=True, text=True, check=False)
    assert result.stdout.count("verification OK") == len(paths) == 11, result.stdout
