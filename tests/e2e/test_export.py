# SPDX-License-Identifier: MIT
"""What other tools read: HAProxy's dialect, Prometheus and OpenMetrics, Grafana, alerts."""
import csv
import io
import json
import re
import subprocess
from pathlib import Path

import pytest

from terminal import Terminal
from wire import Client, connect_socket, wait_for

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def site(weir, app):
    backend = app(2)
    daemon = weir([{"address": a, "name": n} for a, n in zip(backend.addresses, ("web1", "web2"))])
    for _ in range(10):
        daemon.ask()
    return daemon


def say(daemon, line):
    """The answer to one line, as socat would show it."""
    with connect_socket(daemon.sock) as sock:
        sock.sendall(line.encode() + b"\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    return data.decode()


def stats(daemon, line="show stat"):
    text = say(daemon, line)
    assert text.startswith("# pxname,svname,") and text.endswith("\n\n")
    rows = csv.DictReader(io.StringIO(text[2:].strip()))
    return {(row["pxname"], row["svname"]): row for row in rows}


# ---- HAProxy's dialect ----

def test_show_stat(site):
    rows = stats(site)
    assert list(rows) == [("web", "FRONTEND"), ("app", "web1"), ("app", "web2"), ("app", "BACKEND")]
    assert sum(int(rows["app", name]["stot"]) for name in ("web1", "web2")) == 10
    assert rows["app", "BACKEND"]["stot"] == "10" and rows["app", "BACKEND"]["hrsp_2xx"] == "10"
    assert rows["web", "FRONTEND"]["status"] == "OPEN" and rows["app", "BACKEND"]["status"] == "UP"
    assert [row["type"] for row in rows.values()] == ["0", "2", "2", "1"]
    assert list(stats(site, "show stat 2 4 1")) == [("app", "web1")]
    assert list(stats(site, "show stat -1 1 -1")) == [("web", "FRONTEND")]


def test_show_info(site):
    info = dict(line.split(": ", 1) for line in say(site, "show info").splitlines() if line)
    assert info["Pid"] == str(site.pid) and info["Nbthread"] == "2" and info["CumReq"] == "10"
    assert int(info["Uptime_sec"]) >= 0 and info["node"]


def test_changes_by_line(site):
    assert say(site, "disable server app/web1") == "\n"
    assert site.backends()["web1"]["state"] == "maintenance"
    assert stats(site)["app", "web1"]["status"] == "MAINT"
    assert say(site, "enable server app/web1; set weight app/web1 7; get weight app/web1") == \
        "\n\n7\n\n"
    assert site.backends()["web1"]["state"] in ("up", "unknown")
    assert say(site, "set server app/web2 state drain") == "\n"
    assert site.backends()["web2"]["state"] == "draining"
    assert "No such server" in say(site, "disable server app/none")
    assert "A weight is" in say(site, "set weight app/web1 50%")
    assert "Unknown command" in say(site, "show nothing")
    assert "usage: show stat" in say(site, "show stat 1 2")
    assert "show info" in say(site, "help")


def test_prompts(site):
    with connect_socket(site.sock) as sock:
        sock.sendall(b"prompt\n")
        assert sock.recv(100) == b"\n> "
        sock.sendall(b"get weight app/web1\n")
        data = b""
        while not data.endswith(b"> "):
            data += sock.recv(100)
        assert data == b"1\n\n> "
        sock.sendall(b"quit\n")
        assert sock.recv(100) in (b"\n", b"")


def test_the_dialect_is_for_the_unix_socket_only(weir, app, tmp_path):
    from backends import free_port
    port = free_port()
    daemon = weir(app(1).addresses, status={"bind": f"127.0.0.1:{port}"})
    with Client(port) as client:
        client.send(b"show info\n\n")
        assert client.response().status == 400
    with connect_socket(daemon.sock) as sock:
        sock.sendall(b"show " + b"x" * 20000)
        assert sock.recv(10) == b""


def test_hatop(site, tmp_path):
    term = Terminal(tmp_path, ["hatop", "-s", site.sock, "-i", "1"], width=120, height=30)
    try:
        screen = term.until("web2")
        assert "weir" in screen and "BACKEND" in screen and "FRONTEND" in screen
        site.ctl("maintenance", "app/web2", check=0)
        term.until(lambda s: re.search(r"web2 .*MAINT", s))
        term.keys("q")
        term.until("ended with 0")
    finally:
        term.stop()
