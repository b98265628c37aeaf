"""The `crds` package asked in a process of its own: it reads its environment once and caches what it read.

Run as a program: a JSON object on standard input, `{"cache", "questions": [[context, header, reftype], ...],
"insertions": [[rmap, file], ...], "certify": [[mapping, context], ...], "aliases"}`; on standard output the answers
`[kind, value or family]`, the texts of the changed rmaps ("" where CRDS refuses) and what is wrong with mappings.
"""

import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

OBSERVATORY = "tmt"
KINDS = ["dark", "dq", "flat", "sky", "arc"]
"""Types of the mappings that CRDS certifies here."""


def ask_crds(cache: Path, **work: Any) -> tuple[list[list[Any]], list[str]]:
    """Return what CRDS answers; skips where it is not installed, unless everything must be tried."""
    done = _run(cache, work)
    return done["answers"], done["texts"]


def certify(cache: Path, context: str, mappings: list[Path]) -> list[str]:
    """Have CRDS certify mappings, compared with those of a context; return what is wrong with each ("" for nothing).

    It parses them strictly, looks for rules that stand twice, and validates every pattern and date.
    """
    done = _run(cache, {"certify": [[str(path), context] for path in mappings]})
    return [str(text) for text in done["certified"]]


def _run(cache: Path, work: dict[str, Any]) -> dict[str, Any]:
    if importlib.util.find_spec("crds") is None:
        if os.environ.get("RTCAL_REQUIRE_ALL") == "1":
            pytest.fail("crds is not installed; it is in the test extra")
        pytest.skip("crds is not installed")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    environ |= {
        "CRDS_PATH": str(cache),
        "CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu",
        "CRDS_OBSERVATORY": "tobs",
        "CRDS_READONLY_CACHE": "1",
    }
    program = [sys.executable, str(Path(__file__).resolve())]
    done = subprocess.run(
        program, input=json.dumps(work), capture_output=True, text=True, env=environ, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def _register(aliases: dict[str, str]) -> None:
    """Make our observatory known: CRDS's list of them is fixed, so it gets the parts of its test observatory."""
    import crds.tobs.locate
    from crds.core import constants, timestamp, utils

    package, locate = types.ModuleType("crds.tmt"), types.ModuleType("crds.tmt.locate")
    for module, source in ((package, crds.tobs), (locate, crds.tobs.locate)):
        vars(module).update({key: value for key, value in vars(source).items() if not key.startswith("__")})
    package.__path__ = []

    def dataset_keys(_rmap: Any, header: dict[str, str]) -> dict[str, str]:
        date = timestamp.reformat_date(header["USEAFTER"])
        named = {key: header[keyword] for key, keyword in aliases.items() if keyword in header}
        named = header | named
        return named | {"META.DATE": date} | dict(zip(("DATE-OBS", "TIME-OBS"), date.split(), strict=True))

    def conditioned(_rmap: Any, header: dict[str, str]) -> dict[str, str]:
        dates = {key: header[key] for key in ("META.DATE", "DATE-OBS", "TIME-OBS")}
        return utils.condition_header(header) | dates

    replaced = {
        "fits_to_parkeys": lambda header: {str(key).upper(): str(value) for key, value in header.items()},
        "reference_keys_to_dataset_keys": dataset_keys,
        "condition_matching_header": conditioned,
        "get_all_tpninfos": lambda *_: [],
    }
    vars(locate).update(replaced)
    # Names of mappings are taken apart by the test observatory's functions, which know these alone.
    crds.tobs.locate.INSTRUMENTS.append("iris")
    crds.tobs.locate.FILEKINDS.extend(KINDS)
    iris = types.ModuleType("crds.tmt.iris")
    vars(package).update({"INSTRUMENTS": ["iris"], "locate": locate, "iris": iris})
    sys.modules |= {"crds.tmt": package, "crds.tmt.locate": locate, "crds.tmt.iris": iris}
    vars(crds)["tmt"] = package
    constants.ALL_OBSERVATORIES.append(OBSERVATORY)


def _family(error: Exception) -> str:
    from crds.core import exceptions

    families = {
        "unknown": (exceptions.CrdsUnknownReftypeError, exceptions.CrdsUnknownInstrumentError),
        "ambiguous": exceptions.AmbiguousMatchError,
        "bad_rules": (exceptions.MappingError, FileNotFoundError),
        "bad_input": (exceptions.ValidationError, exceptions.InvalidDatetimeError),
        "no_match": exceptions.CrdsLookupError,
    }
    for family, kinds in families.items():
        if isinstance(error, kinds):
            return family
    return "bad_input" if isinstance(error, exceptions.CrdsError) else "internal"


def _answer(context: str, header: dict[str, Any], reftype: str) -> list[Any]:
    from crds.core import exceptions, rmap, utils

    try:
        loaded = rmap.get_cached_mapping(context)
        asked = utils.condition_header(loaded.minimize_header(header))
        value = loaded.get_imap(loaded.get_instrument(asked)).get_rmap(reftype)._get_best_ref(asked)
    except exceptions.IrrelevantReferenceTypeError:
        return ["na", "N/A"]
    except exceptions.OmitReferenceTypeError:
        return ["omit", "OMIT"]
    except Exception as error:  # whatever it is, it is CRDS's answer
        return ["error", _family(error)]
    kind = "files" if isinstance(value, tuple) else "dict" if isinstance(value, dict) else "file"
    return [kind, value]


def _inserted(rmap_name: str, file: str) -> str:
    from crds.core import rmap

    try:
        return str(rmap.load_mapping(rmap_name).insert_reference(file).format())
    except Exception:  # whatever it is, CRDS refuses
        return ""


def _certified(path: str, context: str) -> str:
    from crds.certify.certify import MappingCertifier
    from crds.core import log

    log.reset()
    try:
        MappingCertifier(path, context=context, observatory=OBSERVATORY).certify()
    except Exception as error:  # whatever it is, CRDS refuses
        return f"{type(error).__name__}: {error}"
    return f"{log.errors()} errors" if log.errors() else ""


def _main() -> None:
    work = json.load(sys.stdin)
    from crds.core import log

    log.set_verbose(-3)
    _register(work.get("aliases", {}))
    answers = [_answer(*question) for question in work.get("questions", [])]
    texts = [_inserted(*insertion) for insertion in work.get("insertions", [])]
    certified = [_certified(*one) for one in work.get("certify", [])]
    made = {"answers": answers, "texts": texts, "certified": certified}
    sys.stdout.write("\n" + json.dumps(made, default=lambda thing: f"<{type(thing).__name__}>") + "\n")


if __name__ == "__main__":
    _main()
