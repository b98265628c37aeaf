"""References and new versions of rules put into a cache, whole or not at all.

Files appear complete and never replace others: each is written beside its place, synchronised, and given
its name only if nobody has it. The context's comes last; until then nothing leads to the others. It is also
the judge between two writers: both want the same next number, one gets it, the other begins again.
"""

import contextlib
import filecmp
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from refcache.cache_paths import newest_context
from refcache.errors import ConflictError, InsertionError
from refcache.insertion import Candidate
from refcache.mapping_text import next_name
from refcache.planning import Plan, plan
from refcache.settings import RefcacheSettings

ATTEMPTS = 100
PAUSE_S = 0.02
"""How often a writer that was too late begins again, and how long it waits before."""


def add(
    cache: Path, settings: RefcacheSettings, context: str, candidates: Sequence[Candidate], reftype: str = ""
) -> Plan:
    """Add references to a context, and publish the new one.

    As `plan`; `context` "" is the newest of the cache, also when another writer has just made it.

    Raises
    ------
    ConflictError
        If others were always faster.
    """
    for _ in range(ATTEMPTS):
        start = context or newest_context(cache, settings.observatory)
        made = plan(cache, settings, start, candidates, reftype)
        if not context and made.context != next_name(start, set()):
            continue  # there is a newer one since: to derive from an older would lose what another added
        try:
            publish(cache, settings.observatory, made)
        except FileExistsError:
            time.sleep(PAUSE_S)
        else:
            return made
    raise ConflictError(f"others add to {cache} all the time; tried {ATTEMPTS} times, try again")


def publish(cache: Path, observatory: str, made: Plan) -> None:
    """Write what was planned: references, rmaps, imaps, and the context last.

    Raises
    ------
    FileExistsError
        If another writer has one of the names; then no mapping is left of this attempt.
    InsertionError
        If a reference of the same name but with other contents is there.
    """
    folder = cache / "mappings" / observatory
    created: list[Path] = []
    try:
        for source, target in made.copies:
            _place(target, source)  # stays whatever happens: another writer may count on it by now
        for name, text in made.texts.items():
            _place_text(folder / name, text)
            created.append(folder / name)
    except BaseException:
        for path in reversed(created):
            path.unlink(missing_ok=True)
        raise


def _place(target: Path, source: Path) -> None:
    """Copy a reference, unless the same file is there already."""
    with _temporary(target) as temporary:
        shutil.copyfile(source, temporary)
        _sync(temporary)
        try:
            _name(temporary, target)
        except FileExistsError:
            if filecmp.cmp(source, target, shallow=False):
                return
            raise InsertionError(f"{source}: {target} is another file of that name; rename one") from None
    _sync(target.parent)


def _place_text(target: Path, text: str) -> None:
    with _temporary(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        _name(temporary, target)
    _sync(target.parent)


def _name(temporary: Path, target: Path) -> None:
    """Give a complete file its name, if nobody has it.

    Raises
    ------
    FileExistsError
        If somebody has.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the name is taken first, and filled at once
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        os.replace(temporary, target)


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Give a name beside a file's place, on the same disk, that is gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.fchmod(number, 0o644)
    os.close(number)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
