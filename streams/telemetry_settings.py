"""The table [telemetry]: what telemetry means, how long it is kept, and which reads it leaves out."""

from typing import Annotated

from msgspec import Meta, Struct


class TelemetrySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Table `[telemetry]`; `config.toml` says what each key means."""

    keys: str
    history_s: Annotated[float, Meta(gt=0, le=1e9)]
    settle_s: Annotated[float, Meta(ge=0, le=60)]
    exclude: list[str]
    on_sky: list[str]
    rules: dict[str, str]
