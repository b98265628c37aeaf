"""`rtcal refs make` as a user types it: files that the reducer and the rules take, tables, and clear refusals."""

import json

import numpy as np
import pytest
from astropy.io import fits

from refcache.loading import load_reference
from streams.dq import Dq
from streams.simulator import Simulator, write_references
from tests.data import shared_data
from tests.fakes import FakeClock
from tests.fits_ramps import write_ramp
from tests.lamp import GAIN, active_pixels, read, write_lamp
from tests.rigs import write_recording
from tests.simulated import simulated

WINDOW = {"SUBARRAY": "ODGW", "XSTART": 9, "YSTART": 17}
CHANNELS = "[detectors.IMG1]\nchannels = 4\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(CHANNELS)
    return path


def test_bias_saturation_and_linearity_are_files_that_the_reducer_takes(command, config, tmp_path):
    darks = write_lamp(tmp_path, "dark0", "dark1")
    flats = write_lamp(tmp_path, "flat0", "flat1", "bright0")
    bias, saturation, linearity = (tmp_path / f"{name}_made.fits" for name in ("bias", "saturation", "linearity"))
    made = ["refs", "make"]
    assert command(*made, "bias", *darks, "--config", config, "--out", bias)[0] == 0
    code, _, err = command(*made, "saturation", flats[2], "--config", config, "--out", saturation)
    assert code == 0
    assert "measured in 93.8% of the pixels, typically 36" in err
    use = ["--bias", bias, "--saturation", saturation, "--config", config]
    code, out, err = command(*made, "linearity", *flats, *use, "--out", linearity)
    assert (code, out) == (0, "")
    assert f"{linearity}: NONLINCOEFF of IMG1 from 3 inputs, order 3, good up to 3" in err
    loaded = load_reference(linearity, "linearity")
    assert loaded.coefficients.shape == (256, 4, 256)
    left_out = np.count_nonzero(fits.getdata(linearity, "DQ") & Dq.NO_LIN_CORR)
    assert loaded.notes == (f"{left_out} pixels without a polynomial are not made linear",)
    assert loaded.valid_dn == fits.getval(linearity, "LINMAX")
    assert load_reference(bias, "bias").level.shape == (256, 256)
    assert np.isfinite(load_reference(saturation, "saturation").level).all()
    cards = fits.getheader(linearity)
    expected = {"REFTYPE": "NONLINCOEFF", "DETECTOR": "IMG1", "SUBARRAY": "FULL", "READMODE": "UTR", "LINZERO": "BIAS"}
    assert {key: cards[key] for key in expected} == expected
    assert cards["USEAFTER"] == "2031-01-15 06:00:00"
    assert "FILTER" not in cards
    override = [f"--override=bias={bias}", f"--override=saturation={saturation}", f"--override=linearity={linearity}"]
    without = [f"--override={reftype}=N/A" for reftype in ("dark", "badpix", "sky", "flat")]
    frames = tmp_path / "frames"
    code, out, err = command("reduce", flats[0], "--out", frames, "--json", *override, *without, "--config", config)
    assert code == 0, err
    (frame,) = json.loads(out)["frames"]
    assert {frame["references"][name] for name in ("bias", "saturation", "linearity")} == {"OK"}


def test_what_is_made_is_taken_into_a_cache_and_chosen_by_its_rules(command, config, tmp_path):
    types = ["DARK", "DQ", "FLAT", "SKY", "BIAS", "SATURATION", "NONLINCOEFF"]
    simulator = Simulator(simulated(reference_types=types), FakeClock())
    cache = tmp_path / "crds"
    write_references(simulator, cache)
    dark, flat, bright = write_lamp(tmp_path, "dark2", "flat3", "bright1")
    made = {}
    for word, inputs in {"dark": [dark], "bias": [dark], "saturation": [bright], "linearity": [flat, bright]}.items():
        made[word] = tmp_path / f"{word}_img1.fits"
        assert command("refs", "make", word, *inputs, "--config", config, "--out", made[word])[0] == 0
    code, out, err = command("refs", "add", *made.values(), "--cache", cache)
    assert (code, out.strip()) == (0, "tmt_0002.pmap"), err
    assert command("refs", "verify", "--cache", cache)[0] == 0
    path = tmp_path / "night.toml"
    path.write_text(f'{CHANNELS}[refcache]\npath = "{cache}"\n')
    code, out, err = command("reduce", flat, "--out", tmp_path / "frames", "--config", path)
    assert code == 0, err
    (frame,) = (tmp_path / "frames").iterdir()
    chosen = {row["REFTYPE"]: (row["NAME"], row["STATUS"]) for row in fits.getdata(frame, "REFERENCES")}
    assert {chosen[word] for word in made} == {(file.name, "OK") for file in made.values()}


def test_noise_and_gain_have_tables_for_people_and_programs_and_a_plot(command, config, tmp_path):
    darks, flats = write_lamp(tmp_path, "dark0", "dark1"), write_lamp(tmp_path, "flat0", "flat1", "dim0", "dim1")
    code, out, _ = command(
        "refs", "make", "readnoise", *darks, "--config", config, "--json", "--out", tmp_path / "n.fits"
    )
    assert code == 0
    rows = json.loads(out)
    assert [row["channel"] for row in rows] == [0, 1, 2, 3]
    assert all(row["read_noise_e"] == pytest.approx(9.04, rel=0.015) for row in rows)
    with fits.open(tmp_path / "n.fits") as hdus:
        assert (hdus[0].header["RNKIND"], hdus[0].header["BUNIT"]) == ("SINGLE", "e-")
        assert np.median(hdus["DATA"].data[active_pixels()]) == pytest.approx(9.0, rel=0.05)
    gain, plot = tmp_path / "g.fits", tmp_path / "g.png"
    code, out, err = command("refs", "make", "gain", *flats, "--config", config, "--plot", plot, "--out", gain)
    assert code == 0, err
    assert "gain by photon transfer" in out
    assert "put back" in err
    assert plot.read_bytes().startswith(b"\x89PNG")
    with fits.open(gain) as hdus:
        assert hdus["DATA"].data.mean() == pytest.approx(GAIN, rel=0.03)
        assert hdus[0].header["NPAIRS"] == 2
        assert hdus["ERR"].data.max() < 0.2
    use = [f"--override=gain={gain}", f"--override=readnoise={tmp_path / 'n.fits'}"]
    code, _, err = command("reduce", flats[0], *use, "--config", config, "--out", tmp_path / "frames")
    assert code == 0, err
    (frame,) = (tmp_path / "frames").iterdir()
    cards, used = fits.getheader(frame), np.median(fits.getdata(gain, "DATA"))
    assert cards["GAIN"] == pytest.approx(used)
    assert cards["GAIN"] != GAIN
    assert cards["RDNOISE"] == pytest.approx(9.04 * used / GAIN, rel=0.015)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_recording_serves_too_if_a_detector_is_named(command, config, tmp_path):
    reads = [
        read(
            name, 4 * place + number, np.full((64, 256), 5000 + 10 * place, "u2"), detector=name, read=number, setup=at
        )
        for place, (name, at) in enumerate((("IMG1", {"SUBARRAY": "FULL"}), ("IMG2.W1", WINDOW)))
        for number in range(4)
    ]
    night = write_recording(tmp_path / "night.mcap", reads)
    code, _, err = command("refs", "make", "bias", night, "--config", config, "--out", tmp_path / "b.fits")
    assert code == 2
    assert "inputs for one reference must be of one detector, found IMG1 and IMG2.W1; name one" in err
    words = ["refs", "make", "bias", night, "--config", config, "--detector", "IMG2.W1", "--out", tmp_path / "b.fits"]
    assert command(*words)[0] == 0
    assert (fits.getdata(tmp_path / "b.fits", "DATA") == 5010).all()
    cards = fits.getheader(tmp_path / "b.fits")
    assert {key: cards[key] for key in ("DETECTOR", *WINDOW)} == {"DETECTOR": "IMG2", **WINDOW}


@pytest.mark.real_data
def test_reads_simulated_by_others_give_the_bias_and_the_noise_that_were_put_in(command, tmp_path):
    ramps = shared_data("ramps")
    darks = [ramps / "dark_D1", ramps / "dark_D2"]
    assert command("refs", "make", "bias", *darks, "--out", tmp_path / "bias.fits")[0] == 0
    code, out, _ = command("refs", "make", "readnoise", *darks, "--json", "--out", tmp_path / "noise.fits")
    assert code == 0
    with fits.open(ramps / "truth_detector_D.fits") as truth:
        good = truth["BADPIX"].data == 0
        bias_dn = truth["BIAS_ADU"].data
    good[:4], good[-4:], good[:, :4], good[:, -4:] = False, False, False, False
    with fits.open(tmp_path / "bias.fits") as made:
        chi = ((made["DATA"].data - bias_dn) / made["ERR"].data)[good]
    assert abs(np.median(chi)) < 0.2  # what is left of the common drift
    assert 1.4826 * np.median(np.abs(chi - np.median(chi))) == pytest.approx(1.0, abs=0.1)
    # White noise of 8 e-, and some 1/f noise, of which a step between reads shows a part.
    assert all(8.2 < row["read_noise_e"] < 8.6 for row in json.loads(out))
    flags = fits.getdata(tmp_path / "noise.fits", "DQ") & np.uint32(Dq.OTHER_BAD_PIXEL) != 0
    assert np.count_nonzero(flags & good) < 10 < np.count_nonzero(flags)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("linearity T/ramp.fits --out T/l.fits --order 1", "--order 1: choose 2 to 5"),
        (
            "linearity T/ramp.fits --out T/l.fits",
            "linearity needs at least 1 ramps of 6 or more reads; found ramp ramp 0: 5",
        ),
        ("linearity T/ramp.fits --out T/l.fits --bias T/no.fits", "no.fits: no such file"),
        ("gain T/ramp.fits --out T/g.fits", "needs at least 2 ramps of 2 or more reads; found ramp ramp 0: 5 reads"),
        ("gain T/ramp.fits --out T/g.fits --plot T/g.pdf", "give it a name that ends with .png"),
        ("gain T/ramp.fits --out T/none/g.fits", "there is no directory"),
        ("saturation T/ramp.fits --out T/s.fits", "no pixel saturates in these ramps"),
        ("readnoise T/one.fits --out T/n.fits", "needs at least 1 ramps of 2 or more reads; found one ramp 0: 1 reads"),
        ("bias T/ramp.fits T/wide.fits --out T/b.fits", "all inputs must have one shape"),
    ],
)
def test_inputs_that_cannot_serve_are_refused_in_one_line(command, tmp_path, words, wanted):
    write_ramp(tmp_path / "ramp.fits")
    write_ramp(tmp_path / "one.fits", reads=1)
    write_ramp(tmp_path / "wide.fits", shape=(24, 40))
    before = sorted(tmp_path.iterdir())
    code, out, err = command("refs", "make", *words.replace("T/", f"{tmp_path}/").split())
    assert (code, out) == (1 if "no such file" in wanted else 2, ""), err
    assert wanted in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
