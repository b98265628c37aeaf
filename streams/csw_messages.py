"""Between the event service's events and our messages.

Steps of the observing sequence become `Observe`, by both sets of names that IRIS uses for them; everything
else becomes `Telemetry` under the names of its payload. The key table says which is which.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from streams.csw import CswEvent, CswParameter
from streams.messages import Observe, ObserveHeader, Scalar, Telemetry, TelemetryHeader
from streams.telemetry_keys import TAI_NS, KeyTable

_EXPOSURE = re.compile(r"\d{4}[AB]-\d+-\d+-(?P<instrument>[A-Z]+)-(?P<detector>[A-Z0-9]+)-[A-Z]{3}\d-\d{4}(-\d{2})?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_ID = re.compile(r"[\x21-\x7e]{1,128}")
_EXPOSURE_KEYS = ("exposureId", "exposure", "obsId")
_UAS_PER_DEG = 3.6e9
MAX_TEXT = 1024

Values = dict[str, Scalar | list[Scalar] | None]


def to_message(event: CswEvent, table: KeyTable, number: Callable[[str], int]) -> Telemetry | Observe | None:
    """Turn an event into a message; None for a step of the sequence that nothing follows from.

    `number` gives the sequence number of the next message of a source.

    A list of one value becomes that value; arrays and matrices become one flat list. What is not finite becomes
    None, coordinates become their angles in degrees, times TAI nanoseconds.
    """
    values, units = _flattened(event.parameters)
    step = table.observe_name(event.key)
    if step is None or (not step and event.kind == "SystemEvent"):
        subsystem = _subsystem(event.source)
        return Telemetry(
            TelemetryHeader(
                instrument=subsystem,
                detector="ALL",
                sequence=number(f"{subsystem}/ALL/telemetry"),
                time_ns=event.time_ns,
                event=event.key[:256],
                values=values,
                units=units,
            )
        )
    exposure = next((str(values[key]) for key in _EXPOSURE_KEYS if values.get(key) not in (None, "")), "")
    if not step or not _ID.fullmatch(exposure):
        return None
    instrument, detector = _whose(event, exposure, values)
    return Observe(
        ObserveHeader(
            instrument=instrument,
            detector=detector,
            sequence=number(f"{instrument}/{detector}/observe"),
            time_ns=event.time_ns,
            name=step,
            exposure_id=exposure,
            parameters=values,
        )
    )


def from_message(message: Telemetry | Observe, table: KeyTable) -> CswEvent:
    """Turn a message of ours into an event, in the types that the key table gives its values."""
    header = message.header
    if isinstance(header, ObserveHeader):
        parameters = {"exposureId": CswParameter("String", [header.exposure_id])}
        parameters |= {name: _typed(value, "", "") for name, value in header.parameters.items() if value is not None}
        source = f"{header.instrument}.{'ifs' if header.detector == 'IFS' else 'imager'}.detector"
        return CswEvent(source, f"ObserveEvent.{header.name}", header.time_ns, parameters, "ObserveEvent", _id(header))
    source, _, name = header.event.rpartition(".")
    keys = {key.parameter: key for key in table.keys.get(header.event, ())}
    parameters = {}
    for parameter, value in header.values.items():
        key = keys.get(parameter)
        unit = header.units.get(parameter, "")
        if value is not None:
            choice = "Choice" if key and key.about.choices else ""
            parameters[parameter] = _typed(value, "TAITime" if unit == TAI_NS else choice, table.csw_unit(unit))
    return CswEvent(source or header.instrument, name, header.time_ns, parameters, "SystemEvent", _id(header))


def _id(header: TelemetryHeader | ObserveHeader) -> str:
    return f"{header.source}-{header.sequence}"


def _subsystem(source: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", source.split(".")[0])[:64]
    return name if _NAME.fullmatch(name) else "UNKNOWN"


def _whose(event: CswEvent, exposure: str, values: Mapping[str, object]) -> tuple[str, str]:
    """Return instrument and detector that a step concerns: those in the exposure's name, else what the event says."""
    found = _EXPOSURE.fullmatch(exposure)
    if found:
        return found["instrument"], found["detector"]
    detector = str(values.get("detector") or "")
    return _subsystem(event.source), detector if _NAME.fullmatch(detector) else "ALL"


def _flattened(parameters: Mapping[str, CswParameter]) -> tuple[Values, dict[str, str]]:
    values: Values = {}
    units: dict[str, str] = {}
    for name, parameter in parameters.items():
        if parameter.type.endswith("Coord"):
            angles = _angles(name, parameter.values)
            values |= angles
            units |= dict.fromkeys(angles, "deg")
            continue
        flat = _flat(parameter.values)
        if not flat or any(isinstance(one, float) and not math.isfinite(one) for one in flat):
            values[name] = None
        else:
            values[name] = flat[0] if len(flat) == 1 else flat
        if parameter.type in ("UTCTime", "TAITime"):
            units[name] = TAI_NS
        elif parameter.units not in ("NoUnits", ""):
            units[name] = parameter.units
    return dict(list(values.items())[:256]), dict(list(units.items())[:256])


def _flat(values: list[Any]) -> list[Scalar]:
    flat: list[Scalar] = []
    for value in values:
        if isinstance(value, list):
            flat += _flat(value)
        elif isinstance(value, str):
            flat.append(value[:MAX_TEXT])
        elif isinstance(value, int | float):
            flat.append(value)
    return flat


def _angles(name: str, values: list[Any]) -> Values:
    """Return the angles of a coordinate [deg], which travel as microarcseconds."""
    for value in values[:1]:
        return {
            f"{name}.{axis}": angle / _UAS_PER_DEG
            for axis in ("ra", "dec", "alt", "az")
            if type(angle := value.get(axis)) is int and abs(angle) < 1 << 62
        }
    return {}


def _typed(value: Scalar | list[Scalar], kind: str, unit: str) -> CswParameter:
    items = value if isinstance(value, list) else [value]
    first = items[0] if items else 0.0
    if not kind:
        if isinstance(first, bool):
            kind = "Boolean"
        elif isinstance(first, str):
            kind = "String"
        elif all(isinstance(item, int) for item in items):
            kind = "Long"
        else:
            kind = "Double"
    if kind == "TAITime":
        unit = ""
    if isinstance(value, list) and kind in ("Double", "Long"):
        return CswParameter(f"{kind}Array", [list(items)], unit or "NoUnits")
    return CswParameter(kind, list(items), unit or "NoUnits")
