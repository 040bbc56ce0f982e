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


# ---- Prometheus ----

OPEN = [("Accept", "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")]


def exposition(daemon, path="/metrics", headers=()):
    response = daemon.admin.call("GET", path, headers=headers)
    assert response.status == 200
    return response.get("Content-Type"), response.body.decode()


def families(text):
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def wait_for_latency(daemon):
    wait_for(lambda: daemon.admin.metrics().get(
        'weir_backend_phase_duration_seconds_count'
        '{pool="app",backend="web1",phase="total"}'))


def test_histograms_have_buckets_below_a_millisecond(site):
    wait_for_latency(site)
    rows = site.admin.metrics()
    key = 'weir_backend_phase_duration_seconds_%s{pool="app",backend="web1",phase="total"%s}'
    borders = [re.search(r'le="([^"]+)"', k)[1] for k in rows if k.startswith(
        'weir_backend_phase_duration_seconds_bucket{pool="app",backend="web1",phase="total"')]
    assert sum(float(b) < 0.001 for b in borders) >= 4 and borders[-1] == "+Inf"
    counts = [rows[key % ("bucket", f',le="{b}"')] for b in borders]
    assert counts == sorted(counts) and counts[-1] == rows[key % ("count", "")]
    assert rows[key % ("sum", "")] > 0


def test_openmetrics(site):
    wait_for_latency(site)
    kind, text = exposition(site, headers=OPEN)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("\n# EOF\n") and text.count("# EOF") == 1
    assert "# TYPE weir_requests counter\n" in text and "\nweir_requests_total " in text
    assert not re.search(r"^# TYPE \S+_total ", text, re.M)
    seen, current = set(), None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            current = line.split()[2]
            assert current not in seen, f"{current} is in two places"
            seen.add(current)
        elif not line.startswith("#"):
            assert line.startswith(current), line
    assert exposition(site)[0].startswith("text/plain; version=0.0.4")


def test_one_pool_only(weir, app):
    backends = app(2)
    daemon = weir(backends.addresses[:1])
    daemon.ask()
    _, text = exposition(daemon, "/metrics?pool=app")
    assert "weir_backend_up" in families(text) and "weir_requests_total" not in families(text)
    assert daemon.admin.call("GET", "/metrics?pool=none").status == 404
    assert daemon.admin.call("GET", "/metrics?pond=app").status == 400


@pytest.mark.parametrize("path", ["/metrics", "/metrics?pool=app"])
def test_promtool_likes_it(site, path):
    wait_for_latency(site)
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition(site, path)[1],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- what is in conf/ ----

def test_alert_rules():
    done = subprocess.run(["promtool", "check", "rules", str(CONF / "prometheus-alerts.yml")],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done


def names_in(text):
    return set(re.findall(r"\b(?:weir|process)_[a-z_]+", text))


def test_every_metric_that_is_named_exists(site):
    wait_for_latency(site)
    known = {key.partition("{")[0] for key in site.admin.metrics()}
    board = json.loads((CONF / "grafana-dashboard.json").read_text())
    expressions = [t["expr"] for p in board["panels"] for t in p["targets"]]
    expressions += [v["definition"] for v in board["templating"]["list"]]
    expressions += [a["expr"] for a in board["annotations"]["list"]]
    assert len(expressions) > 15 and len({p["id"] for p in board["panels"]}) == len(board["panels"])
    wanted = set().union(*map(names_in, expressions))
    wanted |= names_in("\n".join(re.findall(
        r"(?:expr: .*(?:\n {10,}.*)*)", (CONF / "prometheus-alerts.yml").read_text())))
    assert len(wanted) > 12 and wanted <= known, wanted - known


# ---- fields on responses ----

def test_diagnostic_fields_are_off_unless_written(site):
    answer = site.ask()
    assert not answer.headers.all("Server-Timing") and not answer.headers.all("Proxy-Status")


def test_server_timing_and_proxy_status(weir, app, scripted):
    backend = app(1, "service=20ms").addresses[0]
    daemon = weir([backend], listener={"server_timing": True, "proxy_status": True})
    with daemon.connect() as client:
        answer = client.ask()
        again = client.ask("HEAD")
    assert answer.get("Proxy-Status") == f'weir;next-hop="{backend}";received-status=200'
    phases = dict(re.findall(r"(\w+);dur=(\d+\.\d{3})", answer.get("Server-Timing")))
    assert list(phases) == ["queue", "connect", "wait"] and float(phases["wait"]) >= 19
    assert again.get("Server-Timing").startswith("queue;dur=0.000, connect;dur=0.000, wait;dur=")


def test_the_kind_of_an_error(weir):
    from backends import refused_address
    daemon = weir([refused_address()], listener={"proxy_status": True}, pool={"retry": "off"})
    answer = daemon.ask()
    assert answer.status == 502
    assert answer.get("Proxy-Status") == "weir;error=connection_refused"
    assert not answer.headers.all("Server-Timing")
