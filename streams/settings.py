"""Reading `config.toml`: one file, one table for each package, every mistake with its line.

The shipped file holds every key with its default; a user's file changes what it names. There are no
defaults in code, so the shipped file is also the documentation of all settings.
"""

import difflib
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streams.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)


def shipped_config() -> Path:
    """Return the `config.toml` that comes with the program (in a checkout: the one at its top)."""
    installed = Path(__file__).with_name("config.toml")
    return installed if installed.exists() else Path(__file__).parent.parent / "config.toml"


def load(path: Path | None, settings_type: type[T]) -> T:
    """Read the tables that `settings_type` has fields for, the user's keys over the shipped ones.

    Parameters
    ----------
    path
        The user's file; None for the shipped file alone.
    settings_type
        A frozen struct with one field for each table that is wanted.

    Raises
    ------
    SettingsError
        If the file is missing, is not TOML, or has an unknown key or a wrong value: one line that
        names file, line and key, and the nearest right key.
    """
    shipped_path = shipped_config()
    shipped = _parse(shipped_path)
    user = {} if path is None else _parse(path)
    where = path or shipped_path
    for key in user:
        if key not in shipped:
            raise SettingsError(_unknown(where, (key,), shipped))
    wanted = {field.name: field for field in msgspec.structs.fields(settings_type)}
    for name, field in wanted.items():
        if name in user:
            _check_keys(where, user[name], field.type, (name,))
    merged = _merge(shipped, user)
    try:
        return msgspec.convert({name: merged[name] for name in wanted}, type=settings_type)
    except msgspec.ValidationError as error:
        raise SettingsError(_wrong_value(where, error)) from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such file; give --config FILE or leave it out for the defaults") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _check_keys(path: Path, table: object, wanted: object, keys: tuple[str, ...]) -> None:
    """Walk a user's table beside its type and refuse the first key that the type does not know."""
    if not isinstance(table, dict):
        return
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        known = {field.name: field.type for field in msgspec.structs.fields(wanted)}
        for key, value in table.items():
            if key not in known:
                raise SettingsError(_unknown(path, (*keys, key), known))
            _check_keys(path, value, known[key], (*keys, key))
    elif typing.get_origin(wanted) is dict:
        for key, value in table.items():
            _check_keys(path, value, typing.get_args(wanted)[1], (*keys, key))
    elif typing.get_origin(wanted) in (typing.Union, types.UnionType):
        for choice in typing.get_args(wanted):
            _check_keys(path, table, choice, keys)


def _unknown(path: Path, keys: tuple[str, ...], known: typing.Iterable[str]) -> str:
    table, key = ".".join(keys[:-1]), keys[-1]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    inside = f" in [{table}]" if table else ""
    return f"{path}:{_line_of(path, keys)}: unknown key {key!r}{inside}; {remedy}"


def _wrong_value(path: Path, error: msgspec.ValidationError) -> str:
    text, _, place = str(error).partition(" - at `$.")
    keys = tuple(re.split(r"[.\[]", place.rstrip("`"))) if place else ()
    return f"{path}:{_line_of(path, keys)}: {'.'.join(keys)}: {text}"


def _line_of(path: Path, keys: tuple[str, ...]) -> int:
    """Find the line that sets `keys`, or opens their table; 1 if neither is found (inline tables)."""
    keys = tuple(key for key in keys if not key.endswith("]"))
    found, table = 1, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if text.startswith("["):
            table = text.split("#")[0].strip("[] ").replace('"', "")
        name = text.split("=")[0].strip().strip('"') if "=" in text and not text.startswith("#") else ""
        full = ".".join(part for part in (table, name) if part)
        if full == ".".join(keys):
            return number
        if table and ".".join(keys).startswith(table) and text.startswith("["):
            found = number
    return found
