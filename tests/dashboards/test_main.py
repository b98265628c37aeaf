"""The process: its address, its errors, its end."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from dashboards.__main__ import main
from dashboards.app import STATIC, build_id
from dashboards.settings import Settings
from streams.settings import load


def test_the_shipped_configuration_fits():
    settings = load(None, Settings).dashboard
    assert settings.address == "127.0.0.1"
    assert len(settings.mosaic) == 2


def test_a_misspelt_key_is_named_with_the_right_one(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('[dashboard]\nstrech = "log"\n')
    assert main(["--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path}:2" in error
    assert "stretch" in error


def test_too_little_memory_is_said_with_what_it_takes(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text("[dashboard]\nmemory_mb = 100\n")
    assert main(["--config", str(path), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(r"dashboard.memory_mb = 100: the display needs \d{3} before any image", error)


def fails(*arguments):
    """Start the display as a user does, who has no tests' memory in the process; return what it says as it gives up."""
    command = [sys.executable, "-m", "dashboards", *arguments]
    ended = subprocess.run(command, cwd=STATIC.parent.parent, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


def test_a_port_in_use_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = fails("--port", str(port))
    assert error.count("\n") == 1
    assert f"port {port}" in error
    assert "--port" in error


def test_an_endpoint_that_is_none_is_said_in_one_line():
    error = fails("--port", "0", "--frames", "nonsense")
    assert error.count("\n") == 1
    assert "nonsense" in error


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_a_port_that_is_none_is_wrong_usage(port):
    with pytest.raises(SystemExit) as exit_:
        main(["--port", port])
    assert exit_.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_its_page_without_foreign_addresses_and_stops(number):
    command = [sys.executable, "-m", "dashboards", "--port", "0", "--print-url"]
    with subprocess.Popen(command, cwd=STATIC.parent.parent, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            page = urllib.request.urlopen(url, timeout=20).read().decode()
            script = urllib.request.urlopen(f"{url}quicklook/main.js", timeout=20)
            assert script.headers["Cache-Control"] == "no-cache"
            assert "WebSocket" in urllib.request.urlopen(f"{url}quicklook/link.js", timeout=20).read().decode()
        finally:
            process.send_signal(number)
        assert process.wait(timeout=20) == 0
    assert build_id() in page
    assert "https://" not in page
    assert "cdn." not in page
