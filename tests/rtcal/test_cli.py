"""The command line as a user meets it: help, exit codes, one line for each mistake."""

import re

import pytest
import typer
from typer.testing import CliRunner

from rtcal import __version__
from rtcal.cli import app
from tests.fits_ramps import write_ramp, write_truncated
from tests.rigs import rtcal

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def leaves(command=None, path=()):
    """Return the words of every command that does something."""
    command = command or typer.main.get_command(app)
    if hasattr(command, "commands"):
        return [leaf for name, one in command.commands.items() for leaf in leaves(one, (*path, name))]
    return [path]


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_has_help_with_examples_that_name_it(words):
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert shown.exit_code == 0, shown.output
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", shown.output)
    examples = text.partition("Examples:")[2]
    assert f"rtcal {' '.join(words)}" in examples


def test_the_commands_of_the_user_guide_are_there():
    wanted = {"demo", "run", "simulate", "record", "replay", "reduce", "status", "dashboard", "refs make dark"}
    assert wanted <= {" ".join(words) for words in leaves()}


def test_help_as_a_process():
    done = rtcal("--help")
    assert done.returncode == 0
    assert "detector reads in, calibrated frames out" in done.stdout
    for word in {words[0] for words in leaves()}:
        assert re.search(rf"\b{word}\b", done.stdout)


def test_the_version(command):
    assert command("--version") == (0, f"rtcal {__version__}\n", "")


def test_a_wrong_option_as_a_process_is_wrong_usage():
    done = rtcal("reduce", "x.mcap", "--out", "frames", "--speed", "3")
    assert done.returncode == 2
    assert "No such option: --speed" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_key_as_a_process_names_line_key_and_the_nearest(tmp_path):
    config = tmp_path / "night.toml"
    config.write_text('# ours\n[ramp]\nmodus = "cds"\n')
    done = rtcal("reduce", tmp_path, "--out", tmp_path / "frames", "--config", config)
    assert done.returncode == 2
    assert done.stderr == f"rtcal: {config}:3: unknown key 'modus' in [ramp]; did you mean 'mode'?\n"
    assert done.stdout == ""


def test_a_truncated_file_as_a_process_is_one_line_and_no_warning(tmp_path):
    path = write_truncated(tmp_path / "ramp.fits", 8000)
    done = rtcal("reduce", path, "--out", tmp_path / "frames")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rtcal: {path}: truncated: ")
    assert line.endswith("; get the file again")
    assert not list((tmp_path / "frames").glob("*"))


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with a good ramp and much that is not."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.fits").write_text("")
    (tmp_path / "lfs.fits").write_text(LFS_POINTER)
    (tmp_path / "lfs.mcap").write_text(LFS_POINTER)
    (tmp_path / "text.fits").write_text("no FITS at all")
    (tmp_path / "text.mcap").write_text("no recording at all")
    (tmp_path / "pull.toml").write_text('[streams]\npattern = "pull"\n')
    (tmp_path / "filter.toml").write_text('[simulator]\nfilter = "Q"\n')
    write_ramp(tmp_path / "ramp.fits")
    return tmp_path


MISTAKES = [
    ("reduce D/none.fits --out D/out", 1, "D/none.fits: no such file or directory"),
    ("reduce D/none.mcap --out D/out", 1, "D/none.mcap: no such file"),
    ("reduce D/empty --out D/out", 1, "D/empty: the directory holds no FITS file"),
    ("reduce D/empty.fits --out D/out", 1, "D/empty.fits: empty; get the file again"),
    ("reduce D/lfs.fits --out D/out", 1, "D/lfs.fits: a Git-LFS pointer, not the file itself; fetch it with"),
    ("reduce D/lfs.mcap --out D/out", 1, "D/lfs.mcap is a Git-LFS pointer, not the recording; fetch it with"),
    ("reduce D/text.fits --out D/out", 1, "D/text.fits: not FITS"),
    ("reduce D/text.mcap --out D/out", 1, "D/text.mcap is no MCAP file"),
    ("reduce D/ramp.fits --out D/empty.fits", 1, "D/empty.fits: cannot be made"),
    ("reduce D/lfs.mcap D/ramp.fits --out D/out", 2, "a recording is reduced alone: give one .mcap file, or FITS"),
    ("reduce D/ramp.fits --out D/out --override dark", 2, "--override dark: write TYPE=FILE or TYPE=N/A"),
    ("reduce D/ramp.fits --out D/out --override dark=", 2, "--override dark=: write TYPE=FILE or TYPE=N/A"),
    ("reduce D/ramp.fits --out D/out --override lamp=N/A", 2, "with TYPE one of badpix, saturation, bias"),
    ("reduce D/ramp.fits --out D/out --override dark=no.fits", 2, "--override dark=no.fits: there is no file no.fits"),
    ("reduce D/ramp.fits --out D/out --mode UTR", 2, "--mode UTR: choose auto, cds, mcds, utr"),
    ("reduce D/ramp.fits --out D/out --config D/no.toml", 2, "D/no.toml: no such file"),
    ("reduce D/ramp.fits --out D/out --config D/text.fits", 2, "D/text.fits: not TOML"),
    ("simulate --detectors IMG9", 2, "command line: simulator.detectors"),
    ("demo --size 1000", 2, "command line: simulator.size"),
    ("demo --config D/filter.toml", 2, "'Q' is not known; known are Zbb"),
    ("demo --config D/pull.toml", 2, "[streams] pattern = 'pull': the demo needs 'sub'; leave the key out"),
    ("run --reads localhost:5550", 2, "command line: streams.reads"),
    ("status --timeout 0.1 --previews ipc:///nowhere/at/all", 1, "no heartbeat IRIS/ALL/status at ipc:///nowhere"),
    ("record D/lfs.mcap", 2, "D/lfs.mcap is there already; give --overwrite to replace it"),
    ("replay D/none.mcap", 1, "D/none.mcap: no such file"),
    ("replay D/lfs.mcap --speed fast", 2, "--speed fast: a number above 0, or max"),
    ("replay D/lfs.mcap --speed -1", 2, "--speed -1: a number above 0, or max"),
    ("refs make dark D/ramp.fits --out D/empty.fits", 2, "D/empty.fits is there already; give --overwrite"),
    ("refs make dark D/ramp.fits --out D/dark.fits --pedigree GOOD", 2, "--pedigree GOOD: choose INFLIGHT, GROUND"),
]


@pytest.mark.parametrize(("line", "code", "said"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_one_line_and_an_exit_code(command, folder, line, code, said):
    ended, out, err = command(*line.replace("D/", f"{folder}/").split())
    assert (ended, out) == (code, "")
    (last,) = err.splitlines()
    assert last.startswith("rtcal: ")
    assert said.replace("D/", f"{folder}/") in last
    assert not list((folder / "out").glob("*"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rduce", "No such command 'rduce'"),
        ("reduce x.fits", "Missing option '--out'"),
        ("reduce --out x", "Missing argument"),
        ("status --timeout 0", "Invalid value for '--timeout'"),
        ("demo --seconds soon", "Invalid value for '--seconds'"),
    ],
)
def test_what_the_parser_refuses_is_wrong_usage(command, line, said):
    code, out, err = command(*line.split())
    assert (code, out) == (2, "")
    assert said in err
