"""Reading `config.toml`: one file, one table for each package, every mistake with its line.

The shipped file holds every key with its default; a user's file changes what it names. There are no
defaults in code, so the shipped file is also the documentation of all settings.
"""

import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streams.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)


def shipped_config() -> Path:
    """Return the `config.toml` that comes with the program (in a checkout: the one at its top)."""
    installed = Path(__file__).with_name("config.toml")
    return installed if installed.exists() else Path(__file__).parent.parent / "config.toml"


Changes = Mapping[str, Mapping[str, object]]
"""Table = key = value, from the options of a command."""


def load(path: Path | None, settings_type: type[T], changes: Changes | None = None) -> T:
    """Read the tables that `settings_type` has fields for, the user's keys over the shipped ones.

    Parameters
    ----------
    path
        The user's file; None for the shipped file alone.
    settings_type
        A frozen struct with one field for each table that is wanted.
    changes
        What options of a command change on top of the files.

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
            _refuse_non_finite(where, user[name], (name,))
    given = {table: dict(keys) for table, keys in (changes or {}).items()}
    merged = _merge(_merge(shipped, user), given)
    tables = {name: merged[name] for name in wanted}
    try:
        return msgspec.convert(tables, type=settings_type)
    except msgspec.ValidationError as error:
        keys, text = _wrong_value(error, tables, settings_type)
        by_option = len(keys) > 1 and keys[1] in given.get(keys[0], {})
        place = "command line" if by_option else f"{where}:{_line_of(where, keys)}"
        raise SettingsError(f"{place}: {'.'.join(keys)}: {text}") from error


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


def _refuse_non_finite(path: Path, value: object, keys: tuple[str, ...]) -> None:
    """Refuse TOML's nan and inf: they pass the limits of some keys, and are right for none."""
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{path}:{_line_of(path, keys)}: {'.'.join(keys)}: {value} is no value")
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(path, item, (*keys, key))
    elif isinstance(value, list):
        for item in value:
            _refuse_non_finite(path, item, keys)


def _unknown(path: Path, keys: tuple[str, ...], known: typing.Iterable[str]) -> str:
    table, key = ".".join(keys[:-1]), keys[-1]
    inside = f" in [{table}]" if table else ""
    return f"{path}:{_line_of(path, keys)}: unknown key {key!r}{inside}; {_nearest(key, known)}"


def _nearest(word: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


def _wrong_value(
    error: msgspec.ValidationError, tables: dict[str, Any], settings_type: object
) -> tuple[tuple[str, ...], str]:
    """Find the keys that a value was refused for, and say what would be right."""
    text, _, place = str(error).partition(" - at `$.")
    steps = re.findall(r"[^.\[\]]+|\[\.\.\.\]", re.sub(r"\[\d+\]", "", place.rstrip("`")))
    keys, wanted, value = _follow(steps, settings_type, tables)
    if typing.get_origin(wanted) is typing.Literal:
        choices = [str(choice) for choice in typing.get_args(wanted)]
        text = f"{value!r} is none of {', '.join(choices)}"
    return keys, text


def _follow(steps: list[str], wanted: Any, value: Any) -> tuple[tuple[str, ...], Any, Any]:
    """Walk to the wrong value; msgspec writes `[...]` for a free key, so look which of them is wrong."""
    keys: list[str] = []
    for step in steps:
        if typing.get_origin(wanted) is typing.Annotated:
            wanted = typing.get_args(wanted)[0]
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            wanted = {field.name: field.type for field in msgspec.structs.fields(wanted)}.get(step)
            key = step
        else:
            wanted = typing.get_args(wanted)[1] if typing.get_origin(wanted) is dict else object
            key = next((key for key, item in value.items() if not _fits(item, wanted)), step)
        keys.append(key)
        value = value.get(key) if isinstance(value, dict) else None
    return tuple(keys), wanted, value


def _fits(value: object, wanted: Any) -> bool:
    try:
        msgspec.convert(value, type=wanted)
    except msgspec.ValidationError:
        return False
    return True


def _line_of(path: Path, keys: tuple[str, ...]) -> int:
    """Find the line that sets `keys`, or the longest beginning of them; 1 if there is none."""
    best, line, table = 0, 1, ()  # type: int, int, tuple[str, ...]
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = text.strip()
        if text.startswith("["):
            table = _split(text.split("#")[0].strip("[] "))
            full = table
        elif "=" in text and not text.startswith("#"):
            full = table + _split(text.split("=")[0])
        else:
            continue
        if len(full) > best and keys[: len(full)] == full:
            best, line = len(full), number
    return line


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
