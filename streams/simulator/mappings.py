"""CRDS mappings that choose the simulator's references: one `.pmap`, one `.imap`, an `.rmap` for each type."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from streams.errors import ReferencesError

OBSERVATORY = "tmt"
CONTEXT = "tmt_0001.pmap"
PARKEYS: dict[str, tuple[str, ...]] = {
    "DARK": ("DETECTOR", "READMODE"),
    "DQ": ("DETECTOR",),
    "ARC": ("DETECTOR", "INSTMODE", "GRATING", "FILTER", "SCALE"),
    "SKY": ("DETECTOR", "FILTER"),
    "FLAT": ("DETECTOR", "FILTER"),
    "BIAS": ("DETECTOR",),
    "SATURATION": ("DETECTOR",),
    "NONLINCOEFF": ("DETECTOR",),
}
"""Keywords that must agree with the exposure's, by reference type."""
_ORIGIN = "simulated by iris-rtcal"

Rules = Mapping[tuple[str, ...], tuple[str, str]]
"""Values of a type's parkeys -> (USEAFTER, file name)."""


def mappings_directory(directory: Path) -> Path:
    """Return where a CRDS cache keeps its mappings."""
    return directory / "mappings" / OBSERVATORY


def write_mappings(directory: Path, rules: Mapping[str, Rules]) -> str:
    """Write the mappings of a cache and return the name of the context.

    The files that others name are complete before the one that names them.

    Parameters
    ----------
    directory
        The cache's top; made if it is not there.
    rules
        Rules by reference type, each of them in `PARKEYS`.

    Raises
    ------
    ReferencesError
        If the cache holds mappings of another origin under these names, or cannot be written.
    """
    folder = mappings_directory(directory)
    files = {f"tmt_iris_{reftype.lower()}_0001.rmap": _rmap(reftype, rules[reftype]) for reftype in rules}
    imap = {reftype: f"tmt_iris_{reftype.lower()}_0001.rmap" for reftype in rules}
    files["tmt_iris_0001.imap"] = _text(
        {"instrument": "IRIS", "mapping": "INSTRUMENT", "name": "tmt_iris_0001.imap", "parkey": ("REFTYPE",)},
        _names(imap),
    )
    files[CONTEXT] = _text(
        {"mapping": "PIPELINE", "name": CONTEXT, "parkey": ("INSTRUME",)}, _names({"IRIS": "tmt_iris_0001.imap"})
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_ours(directory)
        for name, text in files.items():
            part = folder / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            os.replace(part, folder / name)
    except OSError as error:
        raise ReferencesError(f"{folder}: cannot be written: {error}; choose another directory") from error
    return CONTEXT


def check_ours(directory: Path) -> None:
    """Refuse a cache whose context is not one of the simulator's.

    Raises
    ------
    ReferencesError
        If it is another's: it must not be overwritten.
    """
    path = mappings_directory(directory) / CONTEXT
    if path.exists() and _ORIGIN not in path.read_text(encoding="utf-8", errors="replace"):
        raise ReferencesError(
            f"{path}: belongs to another CRDS cache; choose an empty directory for simulated references"
        )


def mapping_sha1(text: str) -> str:
    """Return the checksum of a mapping: SHA-1 of its lines but those that contain `sha1sum`."""
    lines = [line for line in text.splitlines(keepends=True) if "sha1sum" not in line]
    return hashlib.sha1("".join(lines).encode()).hexdigest()


def _names(names: Mapping[str, str]) -> str:
    return "{\n" + "".join(f"    {key!r} : {name!r},\n" for key, name in sorted(names.items())) + "}"


def _rmap(reftype: str, rules: Rules) -> str:
    header: dict[str, object] = {
        "classes": ("Match", "UseAfter"),
        "filekind": reftype,
        "instrument": "IRIS",
        "mapping": "REFERENCE",
        "name": f"tmt_iris_{reftype.lower()}_0001.rmap",
        "parkey": (PARKEYS[reftype], ("DATE-OBS", "TIME-OBS")),
    }
    cases = [
        f"    {values!r} : UseAfter({{\n        {useafter!r} : {name!r},\n    }}),\n"
        for values, (useafter, name) in sorted(rules.items())
    ]
    return _text(header, f"Match({{\n{''.join(cases)}}})")


def _text(header: Mapping[str, object], selector: str) -> str:
    """Join header and selector in CRDS's form, with the checksum in its line."""
    items = {**header, "derived_from": "NONE", "description": _ORIGIN, "observatory": OBSERVATORY.upper()}
    lines = {key: f"    {key!r} : {value!r},\n" for key, value in items.items()}
    lines["sha1sum"] = "    'sha1sum' : '',\n"
    blank = f"header = {{\n{''.join(lines[key] for key in sorted(lines))}}}\n\nselector = {selector}\n"
    return blank.replace("'sha1sum' : ''", f"'sha1sum' : '{mapping_sha1(blank)}'")
