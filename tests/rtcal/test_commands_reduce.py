"""`rtcal reduce` and `rtcal refs make` on small FITS ramps and recordings."""

import json
import subprocess
import sys

import numpy as np
from astropy.io import fits

from refcache import FRAME_TYPES
from streams.dq import Dq
from tests.fakes import ramp_reads
from tests.fits_ramps import SHAPE, write_ramp
from tests.rigs import PROCESS_S, ROOT, quiet_environment, rtcal, write_recording
from tests.samples import SAMPLES

NO_REFERENCES = [word for reftype in ("dark", "badpix", "sky", "flat") for word in ("--override", f"{reftype}=N/A")]


def ramp(n=5, slope_dn=10.0, **fields):
    data = (1000 + slope_dn * np.arange(n)[:, None, None] * np.ones((1, 6, 8))).astype("<u2")
    return ramp_reads(data, **fields)


def test_a_ramp_as_a_process_becomes_a_frame_and_the_answer_is_json(tmp_path):
    path, out = write_ramp(tmp_path / "ramp.fits"), tmp_path / "frames"
    done = rtcal("reduce", path, "--out", out, "--json", *NO_REFERENCES)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "frames": [
            {
                "detector": "IMG1",
                "exposure_id": "ramp",
                "ramps": 1,
                "path": str(out / "ramp_IMG1.fits"),
                "reads_used": 5,
                "reads_lost": 0,
                "reads_rejected": 0,
                "reads_excluded": 0,
                "references": dict.fromkeys([*FRAME_TYPES, "instrument", "nfiraos", "pointing"], "MISSING")
                | {"environment": "DEFAULT"}
                | dict.fromkeys(("dark", "badpix", "sky", "flat", "arc", "lensletscan"), "NA"),
            }
        ],
        "counters": {"delivered": 5, "events": 1, "exposures": 1, "frames": 1, "ramps": 1, "reads_used": 5}
        | {"received": 7},
    }
    said = [f"{out / 'ramp_IMG1.fits'}: IMG1, UTR, 5 reads", "  reference pixels: none to correct by"]
    assert done.stderr.splitlines()[-2:] == said
    with fits.open(out / "ramp_IMG1.fits") as hdus:
        np.testing.assert_allclose(hdus["DATA"].data, 60.0, rtol=1e-2)
        assert not hdus["DQ"].data.any()


def test_reads_are_left_out_by_their_numbers(command, tmp_path):
    path, out = write_recording(tmp_path / "night.mcap", ramp()), tmp_path / "frames"
    words = ["--out", out, "--json", "--exclude", "reads 1,3", *NO_REFERENCES]
    code, answer, said = command("reduce", path, *words)
    assert code == 0
    (frame,) = json.loads(answer)["frames"]
    assert (frame["reads_used"], frame["reads_excluded"], frame["reads_lost"]) == (3, 2, 0)
    assert any(line.endswith("3 reads, 2 left out") for line in said.splitlines())
    with fits.open(frame["path"]) as hdus:
        assert hdus[0].header["NRDEXCL"] == 2
        assert "reads 1,3 of ramp 0 left out: reads 1,3" in list(hdus[0].header["HISTORY"])


def test_a_rule_that_cannot_be_read_is_wrong_usage(command, tmp_path):
    path = write_recording(tmp_path / "night.mcap", ramp())
    code, _, said = command("reduce", path, "--out", tmp_path / "frames", "--exclude", "LGSR1 < 0.1", *NO_REFERENCES)
    assert code == 2
    assert "did you mean 'LGSR0'?" in said


def test_missing_references_and_lost_reads_are_told(command, tmp_path):
    path = write_recording(tmp_path / "night.mcap", [read for read in ramp() if read.header.read != 2])
    code, out, err = command("reduce", path, "--out", tmp_path / "frames")
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0] == "references: no CRDS cache configured"
    assert lines[1].endswith("E-1_IMG1.fits: IMG1, UTR, 4 reads, 1 LOST")
    assert lines[-1] == "reads that were not in order: lost 1"
    assert [line.split()[:2] for line in lines[3:-1]] == [
        [f"{reftype}:", "MISSING"] for reftype in ("badpix", "dark", "sky", "flat")
    ]


def test_a_dark_is_made_and_subtracted(command, tmp_path):
    dark_ramp = write_ramp(tmp_path / "dark.fits", rate_e_per_s=20.0)
    code, _, err = command("refs", "make", "dark", dark_ramp, "--out", tmp_path / "master.fits")
    assert code == 0, err
    with fits.open(tmp_path / "master.fits") as hdus:
        assert hdus[0].header["REFTYPE"] == "DARK"
        assert hdus[0].header["PEDIGREE"] == "GROUND"
        assert hdus["DATA"].shape == SHAPE
    override = ["--override", f"dark={tmp_path / 'master.fits'}"]
    science = write_ramp(tmp_path / "science.fits")
    assert command("reduce", science, "--out", tmp_path, *NO_REFERENCES, *override)[0] == 0
    with fits.open(tmp_path / "science_IMG1.fits") as hdus:
        np.testing.assert_allclose(hdus["DATA"].data, 40.0, rtol=1e-2)


def test_references_that_are_there_are_replaced_only_on_demand(command, tmp_path):
    path, out = write_ramp(tmp_path / "dark.fits"), tmp_path / "master.fits"
    out.write_text("mine")
    assert command("refs", "make", "dark", path, "--out", out)[0] == 2
    assert out.read_text() == "mine"
    assert command("refs", "make", "dark", path, "--out", out, "--overwrite", "--pedigree", "inflight")[0] == 0
    assert fits.getval(out, "PEDIGREE") == "INFLIGHT"


def test_a_bad_pixel_map_tells_darks_from_light_by_their_type(command, tmp_path):
    hot, dead = np.full(SHAPE, 0.0), np.full(SHAPE, 300.0)
    hot[5, 6] = 2000.0
    dead[11, 12] = 0.0
    dark = write_ramp(tmp_path / "dark.fits", rate_e_per_s=hot, EXPTYPE="DARK")
    sky = write_ramp(tmp_path / "sky.fits", rate_e_per_s=dead, EXPTYPE="SKY")
    code, _, err = command("refs", "make", "badpix", dark, sky, "--out", tmp_path / "badpix.fits")
    assert code == 0, err
    assert "1 dark and 1 illuminated exposures" in err
    with fits.open(tmp_path / "badpix.fits") as hdus:
        dq = hdus["DQ"].data
    assert dq[5, 6] & Dq.HOT
    assert dq[11, 12] & Dq.DEAD
    assert np.argwhere(dq & Dq.DO_NOT_USE).tolist() == [[5, 6], [11, 12]]


def test_nothing_is_made_of_a_single_read_and_numpy_does_not_complain(tmp_path):
    path = write_ramp(tmp_path / "short.fits", reads=1)
    done = rtcal("refs", "make", "dark", path, "--out", tmp_path / "master.fits")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "short: no pixel has a rate (reads used: 1); left out",
        "rtcal: no frame came out of the inputs for dark; a ramp needs two reads",
    ]
    assert not (tmp_path / "master.fits").exists()


def test_a_recording_is_reduced_up_to_where_it_breaks_off(command, tmp_path):
    reads = [*ramp(), *ramp(exposure_id="E-2", first_sequence=5)]
    path = write_recording(tmp_path / "night.mcap", reads[:5])
    killed = tmp_path / "killed.mcap"
    killed.write_bytes(path.read_bytes()[:-40])  # what a kill leaves: no end
    code, _, err = command("reduce", killed, "--out", tmp_path / "frames", *NO_REFERENCES)
    assert code == 0
    assert f"{killed} breaks off (its recorder was killed); all whole messages before that were taken" in err
    assert [one.name for one in (tmp_path / "frames").iterdir()] == ["E-1_IMG1.fits"]


def test_frames_of_single_ramps_are_written_on_demand(command, tmp_path):
    reads = [read for number in (0, 1) for read in ramp(ramp=number, ramps_planned=2, first_sequence=5 * number)]
    path = write_recording(tmp_path / "night.mcap", reads)
    config = tmp_path / "night.toml"
    config.write_text("[products]\nevery_ramp = true\n")
    assert command("reduce", path, "--out", tmp_path / "all", "--config", config, *NO_REFERENCES)[0] == 0
    assert sorted(one.name for one in (tmp_path / "all").iterdir()) == ["E-1_IMG1.fits", "E-1_IMG1_r001.fits"]
    assert command("reduce", path, "--out", tmp_path / "last", *NO_REFERENCES)[0] == 0
    assert [one.name for one in (tmp_path / "last").iterdir()] == ["E-1_IMG1.fits"]


def test_no_frame_is_a_failure_and_the_json_says_why(command, tmp_path):
    path = write_recording(tmp_path / "night.mcap", [SAMPLES["observe"], SAMPLES["telemetry"]])
    code, out, err = command("reduce", path, "--out", tmp_path / "frames", "--json", *NO_REFERENCES)
    assert code == 1
    assert json.loads(out) == {"frames": [], "counters": {"received": 2, "telemetry_events": 1}}
    assert err.splitlines()[-1] == "rtcal: no frame came out; counters: {'received': 2, 'telemetry_events': 1}"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # room for compiled kernels, not for the frame
from rtcal.cli import main
sys.argv = ["rtcal", *sys.argv[1:]]
main()
"""


def test_a_full_disk_is_one_line_and_code_1(tmp_path):
    path, out = write_ramp(tmp_path / "ramp.fits", shape=(400, 400)), tmp_path / "frames"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "reduce", path, "--out", out],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        cwd=ROOT,
        env=quiet_environment(),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"rtcal: {out / 'ramp_IMG1.fits'}: cannot be written: ")
    assert last.endswith("check the space and the directory")
    assert not list(out.iterdir())
