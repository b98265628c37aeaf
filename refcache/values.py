"""Header values in the form that CRDS compares, and headers of FITS keywords made into CRDS's."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

SetupValue = str | int | float | bool
"""What a FITS card or a message's setup may hold."""

UNDEFINED = "UNDEFINED"
ANY = "*"
NA = "N/A"

_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|[+-]?[0-9]+\.")
# CRDS anchors only the ends of its own list of names for "not applicable", so the first matches as a beginning.
_NOT_APPLICABLE = re.compile(r"-2147483648.0|\(\)|N/A|NOT APPLICABLE|NOT_APPLICABLE\Z")
_SAME = {"ANY": ANY, "4294967295.0": "-1.0", "TRUE": "T", "FALSE": "F"}


def normalise(value: object) -> str:
    """Turn a header or rule value into CRDS's text: upper case, numbers as floats, T and F, `*` for ANY."""
    return _normalised(value if isinstance(value, str) else str(value))


@lru_cache(maxsize=4096)
def _normalised(value: str) -> str:
    text = value.strip().upper()
    if _NUMBER.fullmatch(text):
        text = str(float(text))
    if _NOT_APPLICABLE.match(text):
        text = NA
    return _SAME.get(text, text)


def crds_header(header: Mapping[str, object]) -> dict[str, str]:
    """Return a header with upper-case keys and normalised values, which the rules can be asked with."""
    return {key.upper(): normalise(value) for key, value in header.items()}


def with_aliases(
    setup: Mapping[str, SetupValue], aliases: Mapping[str, str], date_keys: Iterable[str] = (), when: str = ""
) -> dict[str, SetupValue]:
    """Give a header of FITS keywords the names that the rules use.

    Parameters
    ----------
    setup
        FITS keywords, or CRDS's names already; the latter are left as they are.
    aliases
        CRDS name to FITS keyword, e.g. `META.INSTRUMENT.DETECTOR` to `DETECTOR`.
    date_keys
        The keys that the rules take the date from: one for date and time together, or two.
    when
        The date to put there, `YYYY-MM-DDThh:mm:ss[.ffffff]`; "" takes what the keys hold, where a
        date with its time after a `T` is split if there are two keys.
    """
    named = {key.upper(): value for key, value in setup.items()}
    for name, keyword in aliases.items():
        if name.upper() not in named and keyword.upper() in named:
            named[name.upper()] = named[keyword.upper()]
    keys = [key.upper() for key in date_keys]
    if keys and when:
        named[keys[0]] = when
    if len(keys) == 2:
        date, t, time = str(named.get(keys[0], UNDEFINED)).partition("T")
        if t and date[:1].isdigit():
            named[keys[0]], named[keys[1]] = date, time
    return named
