"""Where the CRDS cache and its context are: configuration first, then the environment."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath

from refcache.errors import BadRulesError
from refcache.settings import RefcacheSettings


def cache_path(settings: RefcacheSettings, environ: Mapping[str, str]) -> Path | None:
    """Return the CRDS cache, or None if none is configured."""
    configured = settings.path or environ.get("CRDS_PATH", "")
    return Path(configured).expanduser() if configured else None


def context_name(cache: Path, settings: RefcacheSettings, environ: Mapping[str, str]) -> str:
    """Return the name of the context: configured, in the environment, or the newest in the cache.

    `CRDS_CONTEXT` is a `.pmap`, or one of the words that CRDS has for the newest: `latest`,
    `<observatory>-latest`, `-operational`, `-edit`. Without a server they all are the newest of the cache.

    Raises
    ------
    BadRulesError
        If none is named and the cache has none, or the environment names no context.
    """
    if settings.context:
        return settings.context
    name = environ.get("CRDS_CONTEXT", "")
    if not name or name.lower() in _newest_words(settings):
        return newest_context(cache, settings.observatory)
    if not name.endswith(".pmap"):
        known = ", ".join(sorted(_newest_words(settings)))
        raise BadRulesError(name, f"CRDS_CONTEXT must name a .pmap of the cache, or be one of {known}")
    return name


def follows_newest(settings: RefcacheSettings, environ: Mapping[str, str]) -> bool:
    """Tell whether the context is the newest of the cache, whichever that is at the time."""
    name = environ.get("CRDS_CONTEXT", "")
    return not settings.context and (not name or name.lower() in _newest_words(settings))


def _newest_words(settings: RefcacheSettings) -> set[str]:
    return {"latest", *(f"{settings.observatory}-{word}" for word in ("latest", "operational", "edit"))}


def newest_context(cache: Path, observatory: str) -> str:
    """Return the `.pmap` with the highest number.

    Raises
    ------
    BadRulesError
        If there is none.
    """
    folder = cache / "mappings" / observatory
    names = [path.name for path in folder.glob("*.pmap")]
    if not names:
        raise BadRulesError(f"{observatory}_*.pmap", f"no context in {folder}; set path, or context")
    return max(names, key=_serial)


def reference_path(cache: Path, settings: RefcacheSettings, instrument: str, name: str) -> Path:
    """Return where a reference lies, in its instrument's folder or (the flat form of a cache) the observatory's.

    Raises
    ------
    BadRulesError
        If the rules give a path instead of a name.
    """
    if PurePath(name).name != name:
        raise BadRulesError(name, "is no file's name; rules may not point out of the cache")
    folder = cache / "references" / settings.observatory.lower()
    flat = folder / name
    return flat if flat.exists() else folder / instrument.lower() / name


def _serial(name: str) -> tuple[int, str]:
    numbers = re.findall(r"\d+", name)
    return (int(numbers[-1]) if numbers else -1), name
