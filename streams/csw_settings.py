"""The table [csw]: where the observatory's event service is."""

from typing import Annotated

from msgspec import Meta, Struct

Address = Annotated[str, Meta(pattern=r"^[^\s:]+:\d{1,5}\Z")]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class CswSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table `[csw]`; `config.toml` says what each key means."""

    redis: Address
    sentinel: list[Address]
    master: Annotated[str, Meta(min_length=1)]
    patterns: Annotated[list[str], Meta(min_length=1, max_length=1000)]
    timeout_s: Seconds
    silence_s: Seconds
    retry_s: Seconds
    retry_max_s: Seconds
