"""A small cache of IRIS references, and a setup and an instant that its rules answer."""

from pathlib import Path

from tests.crds_cache import rmap_text, write_cache, write_reference

NOON = (1_798_804_800 + 37) * 10**9  # 2027-01-01 12:00:00 UTC, as TAI
HOUR = 3600 * 10**9
PARKEY = "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))"
SETUP: dict[str, str | int | float | bool] = {
    "INSTRUME": "IRIS",
    "DETECTOR": "IMG1",
    "FILTER": "K",
    "READMODE": "UTR",
    "SUBARRAY": "FULL",
}


def rules(kind: str, *dates: str) -> str:
    after = ", ".join(f"'{date}' : '{kind.lower()}_{number}.fits'" for number, date in enumerate(dates, start=1))
    return rmap_text(f"Match({{ 'IMG1' : UseAfter({{ {after} }}) }})", PARKEY, kind)


def cache(root: Path, **cards: object) -> Path:
    """A cache with rules and files for a dark, a bad-pixel map and a flat; the sky is N/A."""
    write_cache(
        root,
        {
            "DARK": rules("DARK", "2026-12-01 00:00:00", "2027-01-01 11:00:00"),
            "MASK": rules("MASK", "2026-12-15 00:00:00"),
            "FLAT": rules("FLAT", "2026-12-15 00:00:00"),
        },
        {"SKY": "N/A"},
    )
    folder = root / "references" / "tmt" / "iris"
    write_reference(folder / "dark_1.fits", "dark", value=1.0, USEAFTER="2026-12-01 00:00:00", **cards)
    write_reference(folder / "dark_2.fits", "dark", value=2.0, USEAFTER="2027-01-01 11:00:00", **cards)
    write_reference(folder / "mask_1.fits", "badpix", USEAFTER="2026-12-15 00:00:00")
    write_reference(folder / "flat_1.fits", "flat", USEAFTER="2026-12-15 00:00:00")
    return root
