from pathlib import Path

import msgspec
import pytest

from refcache import REFTYPES, RefcacheSettings
from streams.errors import SettingsError
from streams.settings import load


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    refcache: RefcacheSettings


def test_the_shipped_table_is_complete_and_names_every_reftype() -> None:
    shipped = load(None, Tables).refcache
    assert set(shipped.reftypes) == set(REFTYPES)
    assert shipped.check_sha1
    assert shipped.override == {}
    assert shipped.aliases["META.INSTRUMENT.DETECTOR"] == "DETECTOR"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ('[refcache.override]\ndrak = "d.fits"\n', "unknown reftype 'drak' in override; did you mean 'dark'?"),
        ('[refcache.reftypes]\nlamp = ["ARC"]\n', "unknown reftype 'lamp' in reftypes; known are badpix, saturation"),
        ("[refcache]\nmemory_mb = 0\n", "refcache.memory_mb"),
        ('[refcache]\nobservatory = "../x"\n', "refcache.observatory"),
        ("[refcache]\nmemory = 1\n", "unknown key 'memory' in [refcache]; did you mean 'memory_mb'?"),
    ],
)
def test_a_wrong_key_or_value_names_the_right_one(tmp_path: Path, table: str, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(table)
    with pytest.raises(SettingsError) as raised:
        load(path, Tables)
    assert text in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_users_file_adds_to_the_shipped_tables(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[refcache.override]\nsky = "N/A"\n[refcache.aliases]\n"META.X" = "XKEY"\n')
    loaded = load(path, Tables).refcache
    assert loaded.override == {"sky": "N/A"}
    assert (loaded.aliases["META.X"], loaded.aliases["META.DATE"]) == ("XKEY", "DATE-OBS")
