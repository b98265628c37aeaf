"""An arc of simulated reads, solved, changed by hand and entered: the cubes that follow use it."""

from astropy.io import fits

from refcache import ReferenceStore
from rtcal.arcpage.editor import ArcEditor
from rtcal.arcpage.edits import Mask
from rtcal.arcpage.server import Save
from rtcal.bands import Bands
from rtcal.commands.arc_edit import enter, save
from rtcal.config import Settings
from rtcal.products import write_frame
from rtcal.reduce import Reducer
from rtcal.spectrograph.solvedarc import read_solved
from streams import settings as settings_file
from streams.messages import Cube, Frame
from streams.simulator import Simulator, write_references
from tests.fakes import FakeClock
from tests.rtcal.spectrograph.fields import field
from tests.rtcal.spectrograph.test_stage import Sending


def reduced(simulator):
    """Reduce with the cache of the environment, as the commands do."""
    settings = settings_file.load(None, Settings)
    store = ReferenceStore(settings.refcache, settings.calibration.stale_s)
    store.preload()
    with Bands(2) as bands:
        return list(Reducer(settings, store, bands, FakeClock()).products(Sending(simulator)))


def test_an_edited_arc_is_entered_and_science_uses_it(command, tmp_path, monkeypatch):
    def night():
        settings, _ = field("slicer", 640, sequence=["arc", "science"], exposures=2, reads_per_ramp=6)
        return Simulator(settings, FakeClock())

    cache = tmp_path / "refs"
    write_references(night(), cache)
    monkeypatch.setenv("CRDS_PATH", str(cache))
    made = reduced(night())
    assert next(one for one in made if isinstance(one, Cube)).header.arc.name == "tmt_iris_arc_ifs_0001.fits"
    arc = write_frame(next(one for one in made if isinstance(one, Frame)), tmp_path)
    assert fits.getheader(arc)["EXPTYPE"] == "ARC"
    (traces,) = cache.rglob("*arc_ifs_0001.fits")
    guess = ["--lamps", "Ar,Ne", "--wave-range", "1.48", "1.79", "--traces", traces]
    code, _, said = command("arc", "solve", arc, *guess, "--out", tmp_path / "night.fits")
    assert code == 0, said
    editor = ArcEditor(read_solved(tmp_path / "night.fits"), settings_file.load(None, Settings).arc)
    first = editor.solution.traces[0].matched
    editor.apply(Mask(int(editor.solved.arc.traces.ident[0]), [int(first.lines[0])]))
    done = save(editor, Save(str(tmp_path / "edited.fits"), add=True), lambda path: enter(path, None, cache))
    assert done[-1] == "tmt_0002.pmap from tmt_0001.pmap"
    assert command("refs", "verify", "--cache", cache)[0] == 0
    cube = next(one for one in reduced(night()) if isinstance(one, Cube))
    assert (cube.header.arc.name, cube.header.arc.status) == ("edited.fits", "OK")
    assert cube.data.shape[1:] == cube.header.field
