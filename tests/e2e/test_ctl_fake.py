# SPDX-License-Identifier: MIT
"""weirctl against a fake daemon: what it asks for, what it prints, how it ends.

The fake serves canned answers in the shape of the API, whole, chunked, or until
close, so that every rule of weirctl is seen without a daemon that obeys.
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from backends import Process
from terminal import COMPLETION, zsh_completes
from wire import wait_for

BUILD = Path(os.environ.get("WEIR_BUILD", Path(__file__).resolve().parents[2] / "build"))
WEIRCTL = BUILD.resolve() / "bin" / "weirctl"

LATENCY = {"1m": {"total": {"n": 1000, "p50_us": 1234, "p90_us": 2500, "p99_us": 45600,
                            "p999_us": 99000, "max_us": 1500000, "mean_us": 1500.25}}}


def backend(name, state="up", **members):
    row = {"name": name, "address": "10.0.0.1:8000", "state": state, "reason": "", "since_s": 0,
           "weight": 1, "in_flight": 0, "queued": 0, "upconns": 4, "idle_upconns": 2,
           "requests": 1000, "errors": 0, "retries": 0, "bytes_in": 1, "bytes_out": 2,
           "rate": 3412.5, "checks": [], "latency": LATENCY}
    row.update(members)
    return row


def world():
    """Everything that the fake knows; tests change it."""
    return {
        "status": {
            "version": "0.1.0", "pid": 4711, "uptime_s": 93784, "generation": 3,
            "last_reload": {"ok": True, "at": "2026-01-31T12:00:00.123Z", "error": None},
            "workers": [{"id": 0, "connections": 5, "exchanges": 17, "loop_lag_us": 850}],
            "listeners": [{"name": "web", "bind": "0.0.0.0:80", "connections": 5, "accepted": 99,
                           "refused": 0}],
            "totals": {"connections": 5, "accepted": 99, "requests": 1234567, "errors": 2,
                       "in_flight": 7, "bytes_in": 12 << 20, "bytes_out": 3 << 30},
            "problems": []},
        "pools": [
            {"name": "app", "strategy": "least-request", "queued": 1, "latency": LATENCY,
             "verdict": "scalability_shared", "backends": [
                backend("b1", in_flight=3),
                backend("b2", "down", reason="connect refused", since_s=41, address="10.0.0.2:80")]},
            {"name": "api", "strategy": "p2c", "queued": 0, "backends": [
                backend("10.0.0.1:8000")]}],
        "connections": [{"id": 9, "worker": 1, "listener": "web", "client": "192.0.2.7:5555",
                         "state": "reading", "requests": 12, "age_s": 125, "bytes_in": 100,
                         "bytes_out": 5000, "pool": "app", "backend": "b1",
                         "path": "/a\x1b[31m\u009b\n"}],
        "events": [{"id": 1, "at": "2026-01-31T12:00:00Z", "kind": "backend-down", "pool": "app",
                    "backend": "b2", "message": "connect refused"},
                   {"id": 2, "at": "2026-01-31T12:00:05Z", "kind": "reload", "pool": None,
                    "backend": None, "message": "generation 3"}],
        "config": {"workers": 2, "shutdown_timeout": "30s", "user": "",
                   "listeners": [{"name": "web", "bind": ["0.0.0.0:80", "[::]:80"]}],
                   "pools": {"app": {"backends": [{"address": "10.0.0.1:8000", "weight": 1}],
                                     "retry": "off", "health": None}}},
        "histogram": {"buckets": [[63, 10], [1024, 50], [1056, 30], [65536, 10]]},
        "explain": {"listener": "web", "route": "api", "action": "pool", "pool": "app", "backends": [
            {"name": "b1", "state": "up", "candidate": True, "why": "fewest in flight"},
            {"name": "b2", "state": "down", "candidate": False, "why": "connect refused"}]},
        "scaling": {
            "pool": "app", "verdict": "not_enough_data", "problem": False,
            "sentence": "7 of the 200 requests that are needed", "meaning": "too few requests",
            "next": {"verdict": "skewed_backend", "looks": 2, "of": 3}, "evidence": {},
            "curve": [], "model": {"kind": None, "refusal": "too little"},
            "forecast": [{"backends": n, "refusal": "too little"} for n in (1, 3, 4)]},
        "reload": (200, {"generation": 4}),
        "certificates": [], "routes": [],
    }


class Fake:
    """An HTTP/1.1 server on a unix socket; one answer a connection."""

    def __init__(self, path):
        self.path = str(path)
        self.world = world()
        self.framing = "length"
        self.raw = None        # bytes instead of an answer
        self.silent = False    # never answers
        self.once = []         # answers as bytes, before all others; empty: the end
        self.requests = []     # (method, target, body)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def serve(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                conn.settimeout(30)
                self.answer(conn)

    def answer(self, conn):
        data = b""
        while b"\r\n\r\n" not in data:
            part = conn.recv(65536)
            if not part:
                return
            data += part
        head, body = data.split(b"\r\n\r\n", 1)
        method, target, version = head.split(b"\r\n")[0].decode().split(" ")
        assert version == "HTTP/1.1"
        assert re.search(rb"(?i)\r\nhost: ", head)
        size = re.search(rb"(?i)content-length: (\d+)", head)
        while size and len(body) < int(size[1]):
            body += conn.recv(65536)
        self.requests.append((method, target, json.loads(body) if body else None))
        if self.once:
            conn.sendall(self.once.pop(0))
            return
        if self.silent:
            conn.recv(1)  # until the client gives up
            return
        conn.sendall(self.raw if self.raw is not None else self.encode(*self.route(*self.requests[-1])))

    def encode(self, status, answer):
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n".encode()
        if self.framing == "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        if self.framing == "close":
            return head + b"Connection: close\r\n\r\n" + body
        chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7])
                          for i in range(0, len(body), 7))
        return (b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n" +
                chunks + b"0\r\nX-Trailer: 1\r\n\r\n")

    def route(self, method, target, body):
        path, _, query = target.partition("?")
        w = self.world
        simple = {"/v1/status": w["status"], "/v1/pools": {"pools": w["pools"]},
                  "/v1/connections": {"connections": w["connections"]}, "/v1/config": w["config"],
                  "/v1/certificates": {"certificates": w["certificates"]},
                  "/v1/latency": {"routes": w["routes"], "listeners": []},
                  "/v1/mirror": {"mirrors": []}}
        if method == "GET" and path in simple:
            return 200, simple[path]
        if method == "GET" and path == "/v1/events":
            since = int(query.partition("=")[2] or 0)
            return 200, {"events": [e for e in w["events"] if e["id"] > since]}
        if method == "POST" and path == "/v1/explain":
            return 200, w["explain"]
        if method == "POST" and path == "/v1/reload":
            return w["reload"]
        return self.route_pool(method, [urllib.parse.unquote(p) for p in path.split("/")[3:]], body)

    def route_pool(self, method, parts, body):
        pool = next((p for p in self.world["pools"] if p["name"] == parts[0]), None)
        if pool is None:
            return 404, {"error": f"no such pool: {parts[0]}"}
        if method == "GET" and parts[1:] == []:
            return 200, pool
        if method == "GET" and parts[1:] == ["histogram"]:
            return 200, self.world["histogram"]
        if method == "GET" and parts[1:] == ["scaling"]:
            return 200, self.world["scaling"]
        if method == "POST" and parts[1:] == ["backends"]:
            pool["backends"].append(backend(body.get("name", body["address"]),
                                            address=body["address"], weight=body.get("weight", 1)))
            return 200, pool["backends"][-1]
        row = next((b for b in pool["backends"] if b["name"] == parts[2]), None)
        if row is None:
            return 404, {"error": f"no such backend: {parts[2]}"}
        if method == "DELETE":
            pool["backends"].remove(row)
            return 200, dict(row, state="draining", reason="removed")
        states = {"up": "up", "drain": "draining", "maintenance": "maintenance"}
        if "state" in body:
            row.update(state=states[body["state"]], reason="by request")
        row.update(weight=body.get("weight", row["weight"]))
        return 200, row


@pytest.fixture
def fake(tmp_path):
    server = Fake(tmp_path / "weir.sock")
    yield server
    server.close()


def environment(**extra):
    env = {k: v for k, v in os.environ.items()
           if k not in ("WEIR_SOCKET", "XDG_RUNTIME_DIR", "NO_COLOR")}
    env.update(TZ="UTC", **extra)
    return env


def ctl(*args, env=None, timeout=30):
    return subprocess.run([WEIRCTL, *args], capture_output=True, text=True, timeout=timeout,
                          env=env or environment(), stdin=subprocess.DEVNULL)


def good(fake, *args):
    done = ctl("-s", fake.path, *args)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def rows(text):
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


# ---- reading ----

@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_status_reads_every_framing(fake, framing):
    fake.framing = framing
    out = good(fake, "status")
    assert out.startswith("weir      0.1.0, pid 4711, up 1 d 2 h, generation 3\n")
    assert "reload    ok at 2026-01-31 12:00:00\n" in out
    assert "requests  1234567, errors 2, in flight 7\n" in out
    assert "traffic   12.0 MiB in, 3.00 GiB out\n" in out
    assert ["web", "0.0.0.0:80", "5", "99", "0"] in rows(out)
    assert ["0", "5", "17", "850 us"] in rows(out)
    assert "\033" not in out


LEAVES = (b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 26\r\n\r\n"
          b'{"error": "ask once more"}')


def test_a_process_that_hands_over_is_asked_once_more(fake):
    for answer in (LEAVES, b""):
        fake.once = [answer]
        assert good(fake, "status").startswith("weir "), answer
    fake.once = [LEAVES]
    good(fake, "reload")
    assert [r[:2] for r in fake.requests] == [("GET", "/v1/status")] * 4 + \
        [("POST", "/v1/reload")] * 2
    fake.requests.clear()
    fake.once = [LEAVES, LEAVES]
    done = ctl("-s", fake.path, "status")
    assert done.returncode == 1 and "ask once more" in done.stderr and len(fake.requests) == 2


def test_what_may_have_been_done_is_not_asked_again(fake):
    fake.once = [b""]
    assert ctl("-s", fake.path, "reload").returncode == 1
    fake.once = [LEAVES.replace(b"Retry-After: 1\r\n", b"")]
    assert ctl("-s", fake.path, "status").returncode == 1
    assert len(fake.requests) == 2


def test_status_names_problems_and_the_failed_reload(fake):
    fake.world["status"]["problems"] = ["worker 0 lags", "pool app has no backend"]
    fake.world["status"]["last_reload"] = {"ok": False, "at": "2026-01-31T12:00:00Z",
                                           "error": "weir.yaml:3:1: unknown key"}
    out = good(fake, "status")
    assert "problem   worker 0 lags\nproblem   pool app has no backend\n" in out
    assert "reload    failed at 2026-01-31 12:00:00: weir.yaml:3:1: unknown key\n" in out


def test_status_of_a_weir_that_never_reloaded(fake):
    fake.world["status"]["last_reload"] = {"ok": True, "at": None, "error": None}
    assert "reload    none since start\n" in good(fake, "status")
    fake.world["status"]["last_reload"] = None
    assert "reload    none since start\n" in good(fake, "status")


def test_pools_count_backends_and_say_why_not_up(fake):
    out = good(fake, "pools")
    assert ["app", "least-request", "1/2", "3", "1", "6.83k/s", "2000", "0", "0", "1.23 ms",
            "45.6 ms", "slow under load, shared bottleneck"] in rows(out)
    assert ["api", "p2c", "1/1", "0", "0", "3.41k/s", "1000", "0", "0", "-", "-"] in rows(out)
    assert out.endswith("app/b2 is down 41 s: connect refused\n")


def test_backends_of_all_pools_and_of_one(fake):
    out = good(fake, "backends")
    b1 = ["app/b1", "up", "10.0.0.1:8000", "1", "3", "0", "4", "2", "3.41k/s", "1000", "0", "0",
          "1.23 ms", "45.6 ms", "1.50 s"]
    assert b1 in rows(out)
    assert rows(out)[2][:2] == ["app/b2", "down"]
    assert rows(out)[2][-1] == "41 s: connect refused"
    assert rows(out)[3][0] == "api/10.0.0.1:8000"
    assert [r[0] for r in rows(good(fake, "backends", "app"))] == ["BACKEND", "app/b1", "app/b2"]


def test_columns_are_aligned(fake):
    fake.world["pools"][0]["backends"][0].update(name="größer", requests=123456789)
    lines = good(fake, "backends", "app").splitlines()
    left = [lines[0].index("STATE"), lines[1].index("up"), lines[2].index("down")]
    right = [line.index(word) + len(word)
             for line, word in zip(lines, [" REQUESTS", " 123456789", "  1000"])]
    assert len(set(left)) == len(set(right)) == 1
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("us, text", [
    (0, "0 us"), (999, "999 us"), (1000, "1.00 ms"), (9994, "9.99 ms"), (9995, "10.0 ms"),
    (99949, "99.9 ms"), (99950, "100 ms"), (999499, "999 ms"), (999500, "1.00 s"),
    (59949999, "59.9 s"), (59950000, "1 m 0 s"), (125000000, "2 m 5 s"), (7380000000, "2 h 3 m")])
def test_durations(fake, us, text):
    latency = {"1m": {"total": {"n": 1, "p50_us": us}}}
    fake.world["pools"] = [{"name": "p", "backends": [backend("x", latency=latency)]}]
    assert rows(good(fake, "backends"))[1][12] == text


@pytest.mark.parametrize("rate, text", [
    (0, "0/s"), (0.001, "0/s"), (0.5, "0.50/s"), (9.99, "9.99/s"), (12.34, "12.3/s"),
    (999.4, "999/s"), (999.6, "1.00k/s"), (3412.5, "3.41k/s"), (1234567, "1.23M/s")])
def test_rates(fake, rate, text):
    fake.world["pools"] = [{"name": "p", "backends": [backend("x", rate=rate)]}]
    assert rows(good(fake, "backends"))[1][8] == text


@pytest.mark.parametrize("size, text", [
    (0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (1024, "1.00 KiB"), (10 << 20, "10.0 MiB"),
    ((1 << 63) - 1, "8192 PiB")])
def test_sizes(fake, size, text):
    fake.world["status"]["totals"]["bytes_in"] = size
    assert f"traffic   {text} in, " in good(fake, "status")


def test_a_backend_without_samples_has_no_latency(fake):
    fake.world["pools"] = [{"name": "p", "strategy": "p2c", "queued": 0,
                            "backends": [backend("x", latency={}, rate=0)]}]
    row = rows(good(fake, "backends"))[1]
    assert row[8:15] == ["0/s", "1000", "0", "0", "-", "-", "-"]


def test_connections_cannot_drive_the_terminal(fake):
    out = good(fake, "connections")
    assert ["9", "1", "web", "192.0.2.7:5555", "reading", "12", "2 m 5 s", "100 B", "4.88 KiB",
            "app/b1", "/a?[31m??"] in rows(out)
    out = good(fake, "--json", "connections")
    assert "\x1b" not in out and "\x9b" not in out and "\\u009b" in out
    fake.world["connections"] = []
    assert good(fake, "connections") == "no client is connected\n"


def test_histogram(fake):
    out = good(fake, "histogram", "app/b1", "--phase", "wait", "--window=5m")
    assert fake.requests[-1][1] == "/v1/pools/app/histogram?phase=wait&window=5m&backend=b1"
    assert out.startswith("100 samples, p50 1.04 ms, p90 1.07 ms, p99 66.6 ms, p99.9 66.6 ms\n")
    assert ["1.02 ms", "80", "80.0 %", "#" * 40 + " <p50 <p90"] in rows(out)
    assert ["65.5 ms", "10", "10.0 %", "#" * 5 + " <p99 <p99.9"] in rows(out)
    assert ["2.05 ms", "0", "0.0 %"] in rows(out)
    fake.world["histogram"] = {"buckets": []}
    assert good(fake, "histogram", "app") == "no samples\n"
    assert fake.requests[-1][1] == "/v1/pools/app/histogram?phase=total&window=1m"


def test_scaling_says_what_is_the_same_once_and_where_it_leans(fake):
    out = good(fake, "scaling", "app")
    assert "app: learning\n  7 of the 200 requests that are needed\n" in out
    assert "  leaning  to skewed backend: 2 of 3 looks agree\n" in out
    assert out.count("too little") == 2 and "  forecast none: too little\n" in out
    fake.world["scaling"]["next"] = None
    fake.world["scaling"]["forecast"][0]["refusal"] = "no backend would be left"
    out = good(fake, "scaling", "app")
    assert "leaning" not in out
    assert "  forecast with 1: no backend would be left\n           with 3: too little\n" in out
    fake.world["scaling"]["forecast"] = [
        {"backends": n, "load": load, "refusal": f"of {n} and {load}"}
        for n, load in ((0, 1), (2, 1), (2, 1), (1, 1.5), (1, 2))]
    out = good(fake, "scaling", "app")
    assert out.count("with 2: ") == 1
    assert "           with 1 and 1.5 times the load: of 1 and 1.5\n" in out


def test_a_level_of_few_requests_does_not_set_the_scale(fake):
    fake.world["scaling"]["curve"] = [{"in_flight": n, "rate": rate, "completions": done} for n, rate, done in
                                      ((1, 100, 500), (2, 200, 300), (3, 9000, 1))]
    bars = [row[-1] for row in rows(good(fake, "scaling", "app"))[-3:]]
    assert bars == ["#" * 20, "#" * 40, "#" * 40]


def test_config_is_yaml(fake):
    yaml = pytest.importorskip("yaml")
    fake.world["config"]["tricky"] = ["on", "1e3", "12:30", "0x1f", "", "a: b", "#x", "- y", "ok:",
                                      "10.0.0.1:80", "tab\there", 1.5, True, [], {}, [["z"]],
                                      "*.example.com", "ä"]
    out = good(fake, "config")
    assert yaml.safe_load(out) == fake.world["config"]
    assert "  - name: web\n" in out and "shutdown_timeout: 30s\n" in out


def test_explain(fake):
    out = good(fake, "explain", "GET", "http://x/a b?c", "-H", "X-A: 1", "-H", "X-A:2",
               "-H", "Host:  y ", "--client", "192.0.2.1")
    assert fake.requests[-1] == ("POST", "/v1/explain", {
        "method": "GET", "url": "http://x/a b?c", "headers": {"X-A": "1, 2", "Host": "y"},
        "client": "192.0.2.1"})
    assert "route      api\n" in out
    assert ["b1", "up", "yes", "fewest in flight"] in rows(out)
    assert ["b2", "down", "no", "connect refused"] in rows(out)
    good(fake, "explain", "GET", "/")
    assert fake.requests[-1][2] == {"method": "GET", "url": "/", "headers": {}}


def test_events(fake):
    assert good(fake, "events") == ("2026-01-31 12:00:00  backend-down  app/b2  connect refused\n"
                                    "2026-01-31 12:00:05  reload  generation 3\n")
    fake.world["events"] = []
    assert good(fake, "events") == "no events since start\n"


def test_events_are_followed(fake):
    for flags, second in ((["-f"], "backend-up"), (["-f", "--json"], '"kind":"backend-up"')):
        fake.world["events"] = fake.world["events"][:2]
        with subprocess.Popen([WEIRCTL, "-s", fake.path, "events", *flags], text=True,
                              stdout=subprocess.PIPE, env=environment()) as process:
            first = [process.stdout.readline() for _ in range(2)]
            assert "reload" in first[1]
            fake.world["events"].append({"id": 3, "at": "2026-01-31T13:00:00Z", "kind": "backend-up",
                                         "pool": "app", "backend": "b2", "message": "2 checks ok"})
            assert second in process.stdout.readline()
            process.terminate()
            assert process.stdout.read() == ""


# ---- JSON ----

@pytest.mark.parametrize("command", ["status", "pools", "backends", "connections", "config"])
def test_json_is_the_answer_as_it_is(fake, command):
    out = good(fake, "--json", command)
    key = "pools" if command == "backends" else command
    expected = fake.world[key]
    assert json.loads(out) == (expected if command in ("status", "config") else {key: expected})
    assert out.count("\n") > 5, "indented"


def test_json_may_stand_behind_the_command(fake):
    assert json.loads(good(fake, "backends", "api", "--json"))["name"] == "api"
    assert json.loads(good(fake, "events", "--json"))["events"][1]["id"] == 2


# ---- changes ----

def test_drain_and_its_undo(fake):
    out = good(fake, "drain", "app/b1")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends/b1", {"state": "drain"})
    assert rows(out)[1][1] == "draining" and rows(out)[1][-1] == "0 s: by request"
    assert out.endswith(f"undo: weirctl -s {fake.path} enable app/b1\n")
    assert good(fake, "drain", "app/b1").endswith("nothing changed: it was so before\n")
    assert good(fake, "maintenance", "app/b1").endswith(" drain app/b1\n")
    assert good(fake, "enable", "app/b1").endswith(" maintenance app/b1\n")
    assert fake.requests[-1][2] == {"state": "up"}


def test_the_undo_names_no_socket_when_none_was_given(fake):
    done = ctl("drain", "app/b1", env=environment(WEIR_SOCKET=fake.path))
    assert done.stdout.endswith("undo: weirctl enable app/b1\n")


def test_drain_waits_until_nothing_is_in_flight(fake):
    row = fake.world["pools"][0]["backends"][0]
    threading.Timer(0.6, row.update, kwargs={"in_flight": 0}).start()
    started = time.monotonic()
    out = good(fake, "drain", "app/b1", "--wait")
    assert time.monotonic() - started > 0.5
    assert rows(out)[1][4] == "0"


def test_drain_stops_waiting_when_somebody_enables(fake):
    row = fake.world["pools"][0]["backends"][0]
    threading.Timer(0.4, row.update, kwargs={"state": "up"}).start()
    done = ctl("-s", fake.path, "drain", "app/b1", "--wait")
    assert done.returncode == 1
    assert done.stderr == "weirctl: app/b1 was enabled again meanwhile\n"


def test_weight(fake):
    out = good(fake, "weight", "app/b1", "7")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends/b1", {"weight": 7})
    assert rows(out)[1][3] == "7"
    assert out.endswith(" weight app/b1 1\n")
    for bad in ("65536", "x", "1.5", ""):
        done = ctl("-s", fake.path, "weight", "app/b1", bad)
        assert done.returncode == 2 and "0 to 65535" in done.stderr


def test_add_and_remove_undo_each_other(fake):
    out = good(fake, "add", "app", "[::1]:80", "--weight", "3", "--name", "it's")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends",
                                 {"address": "[::1]:80", "name": "it's", "weight": 3})
    undo = out.splitlines()[-1]
    assert undo.startswith("undo: weirctl -s ") and undo.endswith(" remove 'app/it'\\''s'")
    out = subprocess.run(undo.replace("undo: weirctl", f"'{WEIRCTL}'", 1), shell=True, text=True,
                         capture_output=True, check=True, env=environment()).stdout
    assert fake.requests[-1][:2] == ("DELETE", "/v1/pools/app/backends/it%27s")
    assert "app/it's is removed\n" in out
    undo = out.splitlines()[-1]
    assert undo.endswith(" add app '[::1]:80' --name 'it'\\''s' --weight 3")


def test_remove_says_when_requests_are_left(fake):
    out = good(fake, "remove", "app/b1")
    assert "app/b1 goes when its last 3 requests are done\n" in out
    assert out.endswith(" add app 10.0.0.1:8000 --name b1\n")


def test_names_are_encoded_in_paths(fake):
    done = ctl("-s", fake.path, "drain", "app/unix:/run/a b%.sock")
    assert done.returncode == 1
    assert fake.requests[-1][1] == "/v1/pools/app/backends/unix:%2Frun%2Fa%20b%25.sock"


def test_reload(fake):
    assert good(fake, "reload") == "reloaded: generation 4 is in force\n"
    diagnostics = "weir.yaml:3:5: error: unknown key \"blance\"\n    blance: p2c\n    ^\n"
    fake.world["reload"] = (422, {"error": "the configuration has 1 error",
                                  "diagnostics": diagnostics})
    done = ctl("-s", fake.path, "reload")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (f"weirctl: the configuration has 1 error\n{diagnostics}"
                           "nothing was changed: the running configuration stays\n")


# ---- check ----

def test_check_ok(fake):
    fake.world["pools"][0]["backends"][1]["state"] = "maintenance"
    assert good(fake, "check") == (
        "WEIR OK - 2 of 3 backends up in 2 pools | backends_up=2;;;0;3 in_flight=7 connections=5 "
        "requests=1234567c errors=2c\n")


def test_check_warns(fake):
    fake.world["status"]["problems"] = ["a|b\nc"]
    fake.world["status"]["last_reload"]["ok"] = False
    fake.world["status"]["last_reload"]["error"] = "bad file"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "WEIR WARNING - app/b2 is down 41 s: connect refused; the last reload failed: bad file; "
        "a/b?c | backends_up=2;")
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_check_names_nothing_twice(fake):
    fake.world["status"]["problems"] = ["backend app/b2 is down: connect refused",
                                        "worker 0 was busy for 150 ms in one go"]
    done = ctl("-s", fake.path, "check")
    assert done.stdout.startswith("WEIR WARNING - app/b2 is down 41 s: connect refused; "
                                  "worker 0 was busy for 150 ms in one go | ")


def test_check_is_critical_when_a_pool_is_gone(fake):
    fake.world["pools"][1]["backends"][0]["state"] = "draining"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 2
    assert "pool api has no backend that takes requests" in done.stdout


def test_check_without_weir(fake, tmp_path):
    done = ctl("-s", str(tmp_path / "none.sock"), "check")
    assert done.returncode == 2 and done.stdout.startswith("WEIR CRITICAL - no socket at ")
    fake.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 3 and "is not JSON" in done.stdout
    assert done.stderr == ""


# ---- doctor ----

def findings(fake, code):
    done = ctl("-s", fake.path, "--json", "doctor")
    assert done.returncode == code, done
    return {row["finding"]: row for row in json.loads(done.stdout)["findings"]}


def content(fake):
    """A world that no rule complains about."""
    fake.world["pools"] = fake.world["pools"][:1]
    fake.world["pools"][0]["backends"][1]["state"] = "up"
    fake.world["pools"][0]["requests"] = 5


def test_doctor_is_content(fake):
    content(fake)
    assert good(fake, "doctor") == "nothing to complain about\n"


def test_doctor_gives_advice(fake):
    w = fake.world
    w["status"]["problems"] = ["worker 0 was busy for 150 ms in one go"]
    w["status"]["totals"].update(fd_exhausted=3, log_dropped=7)
    w["status"]["listeners"][0].update(refused=2, connections=45)
    w["config"]["listeners"][0]["limits"] = {"connections": 50}
    w["pools"][0].update(queued=8, queue_full=4, requests=0)
    w["pools"][0]["backends"][0].update(limit=3, connect_failures=5)
    w["config"]["pools"]["app"].update(
        queue={"length": 10, "timeout": "5s"},
        timeouts={"response": "1m", "connect": "2m"}, health={"interval": "1s", "timeout": "2s"})
    w["config"]["routes"] = [
        {"name": "all", "pool": "app", "timeouts": {"total": "5s"}},
        {"name": "late", "match": {"path": "/x"}, "pool": "app"}]
    w["certificates"] = [{"file": "old.pem", "not_after": "2020-01-01T00:00:00Z"},
                         {"file": "new.pem", "not_after": "2099-01-01T00:00:00Z"}]
    found = findings(fake, 1)
    problems = {text for text, row in found.items() if row["severity"] == "problem"}
    assert problems == {
        "worker 0 was busy for 150 ms in one go",
        "app/b1: 3 of 3 allowed by limits.requests",
        "route all matches everything: the 1 behind it are never used",
        "certificate old.pem expired 2020-01-01T00:00:00Z"}
    assert set(found) - problems == {
        "weir: 3 times accepting stopped for want of file descriptors since the start",
        "weir: 7 access log lines were dropped since the start",
        "listener web refused 2 connections since the start",
        "web: 45 of 50 allowed by limits.connections",
        "app: 4 exchanges were refused because the queue was full since the start",
        "app: 8 of 10 allowed by queue.length",
        "app/b1: 5 connections could not be opened since the start",
        "pool app got no request since the start",
        "pool api gets no requests: nothing leads to it",
        "pool api has one backend",
        "route all: timeouts.total ends an exchange before timeouts.response can",
        "route all: queue.timeout of pool app is not shorter than timeouts.total",
        "pool app: a stop cuts requests that timeouts.response would still wait for",
        "pool app: timeouts.connect is longer than timeouts.response",
        "pool app: a health check may take longer than the time to the next"}
    assert all(row["advice"] for row in found.values())
    out = ctl("-s", fake.path, "doctor").stdout
    assert out.count("problem  ") == 4 and "\n         raise the limit of open files" in out


def certificate(**members):
    return {"file": "a.pem", "names": ["a.test", "*.w.test"], "key_type": "ECDSA P-256",
            "issuer": "CN=Root", "chain": "complete", "ocsp": "none",
            "not_before": "2020-01-01T00:00:00Z", "not_after": "2099-01-01T00:00:00Z", **members}


@pytest.mark.parametrize("members,severity,said", [
    ({}, None, None),
    ({"chain": "private"}, None, None),
    ({"key_type": "RSA 2048"}, None, None),
    ({"key_type": "RSA 1024"}, "problem", "certificate a.pem has a weak key: RSA 1024"),
    ({"names": []}, "problem", "certificate a.pem names no host: no client accepts it"),
    ({"chain": "incomplete"}, "note",
     "certificate a.pem is alone in its file, and its issuer CN=Root is no root that clients know"),
    ({"chain": "self-signed"}, "note",
     "certificate a.pem is signed by itself: no client trusts it"),
    ({"ocsp": "revoked"}, "problem", "certificate a.pem is revoked"),
    ({"ocsp": "expired"}, "note",
     "the OCSP response for certificate a.pem is out of date, and not stapled"),
    ({"not_before": "2098-01-01T00:00:00Z"}, "problem",
     "certificate a.pem is not valid before 2098-01-01T00:00:00Z"),
    ({"not_after": "2020-01-01T00:00:00Z"}, "problem",
     "certificate a.pem expired 2020-01-01T00:00:00Z")])
def test_doctor_looks_at_certificates(fake, members, severity, said):
    content(fake)
    fake.world["certificates"] = [certificate(**members)]
    found = findings(fake, 1 if severity == "problem" else 0)
    assert {text: row["severity"] for text, row in found.items()} == ({said: severity} if said else {})
    assert all(row["advice"] for row in found.values())


@pytest.mark.parametrize("closes,idle,said", [
    (5_000_000, "30s", True), (None, "30s", False), (60_000_000, "30s", False),
    (5_000_000, "2s", False)])
def test_doctor_explains_the_keep_alive_race(fake, closes, idle, said):
    content(fake)
    fake.world["pools"][0]["backends"][0].update(closes_idle_after_us=closes)
    fake.world["config"]["pools"]["app"].update(keepalive={"idle": idle})
    found = findings(fake, 0)
    assert set(found) == ({"app/b1 closes kept connections after 5.0 s, before keepalive.idle "
                           "(30.0 s)"} if said else set())
    assert all("in the moment" in row["advice"] for row in found.values())


@pytest.mark.parametrize("host,covered", [
    ("a.test", True), ("A.Test", True), ("x.w.test", True), ("*.w.test", True), ("b.test", False),
    ("w.test", False), ("x.y.w.test", False), ("*.test", False)])
def test_doctor_misses_names(fake, host, covered):
    content(fake)
    fake.world["certificates"] = [certificate()]
    for hosts in (host, [host]):
        fake.world["config"]["routes"] = [
            {"name": "r", "match": {"host": hosts}, "pool": "app"}]
        wanted = set() if covered else {
            f"route r is for {host}, but no certificate names that host"}
        assert set(findings(fake, 0)) == wanted
    fake.world["certificates"] = []  # no TLS here
    assert not findings(fake, 0)


def test_doctor_knows_unused_routes(fake):
    content(fake)
    w = fake.world
    w["config"]["routes"] = [{"name": n, "match": {"path": f"/{n}"}, "pool": "app"} for n in "ab"]
    w["routes"] = [{"name": "a", "requests": 0}, {"name": "b", "requests": 3}]
    assert set(findings(fake, 0)) == {"route a got no request since the start"}
    w["status"]["uptime_s"] = 60  # too early to tell
    assert not findings(fake, 0)
    w["status"]["uptime_s"] = 99999
    w["routes"] = []  # a daemon that does not count them
    assert not findings(fake, 0)


@pytest.mark.parametrize("conf,said", [
    ({"retry": {"attempt_timeout": "10s"}},
     "pool app: retry.attempt_timeout is not shorter than timeouts.response"),
    ({"retry": {"hedge": {"after": "30s"}}},
     "pool app: retry.hedge.after is not shorter than timeouts.response"),
    ({"slo": {"p95": "12s"}}, "pool app: slo.p95 is not shorter than timeouts.response"),
    ({"queue": {"timeout": "1s", "target": "1s"}},
     "pool app: queue.target is not shorter than queue.timeout"),
    ({"retry": {"attempt_timeout": "9s", "hedge": {"after": "p95"}}, "slo": {"p95": "1s"},
      "queue": {"timeout": "1s", "target": "250ms"}}, None)])
def test_doctor_compares_timeouts(fake, conf, said):
    content(fake)
    fake.world["config"]["pools"]["app"] = {"timeouts": {"response": "10s"}, **conf}
    assert set(findings(fake, 0)) == ({said} if said else set())


def test_doctor_counts_dropped_spans(fake):
    content(fake)
    fake.world["status"]["totals"]["trace_dropped"] = 4
    assert set(findings(fake, 0)) == {
        "weir: 4 spans were dropped because the trace collector was behind since the start"}


# ---- completion ----

WORDS = pytest.mark.parametrize("words,wanted", [
    (["dr"], ["drain"]), (["drain", "app/"], ["app/b1", "app/b2"]), (["backends", "a"], ["app", "api"]),
    (["histogram", "app", "--window", ""], ["10s", "1m", "5m", "start"]), (["--rea"], ["--read-only"]),
    (["reset", "app/"], ["app/b1", "app/b2"]), (["mark", "deploy", "app/"], ["app/b1", "app/b2"])])


@WORDS
def test_completion_of_bash(fake, words, wanted):
    words = ["weirctl", "-s", fake.path, *words]
    script = (f'PATH={Path(WEIRCTL).parent}:$PATH; . {COMPLETION}/weirctl.bash; '
              f'COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _weirctl; printf "%s\\n" "${{COMPREPLY[@]}}"')
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True,
                          timeout=20, env=environment(), check=True)
    assert done.stdout.split() == wanted and done.stderr == ""


@WORDS
def test_completion_of_fish(fake, tmp_path, words, wanted):
    line = " ".join(["weirctl", "-s", fake.path, *words])
    script = (f"set -x PATH {Path(WEIRCTL).parent} $PATH; set -p fish_complete_path {COMPLETION}; "
              "complete -C $argv[1]")
    done = subprocess.run(["fish", "--no-config", "-c", script, line], capture_output=True, text=True,
                          timeout=30, env=environment(HOME=str(tmp_path)), check=True)
    assert sorted(row.partition("\t")[0] for row in done.stdout.splitlines()) == sorted(wanted)
    assert done.stderr == ""


@WORDS
def test_completion_of_zsh(fake, tmp_path, words, wanted):
    zsh_completes(tmp_path, WEIRCTL, ["-s", fake.path, *words], wanted)


# ---- failures ----

def test_refusals_of_the_api_are_printed(fake):
    done = ctl("-s", fake.path, "backends", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "weirctl: no such pool: nope\n"


@pytest.mark.parametrize("raw", [
    b"", b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 9000 + b"\r\n\r\n",
])
def test_broken_answers_are_no_answers(fake, raw):
    fake.raw = raw
    done = ctl("-s", fake.path, "status")
    assert done.returncode == 1
    assert "is no complete HTTP/1.1 response" in done.stderr


def test_an_error_without_json_still_has_its_status(fake):
    fake.raw = b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nnope"
    done = ctl("-s", fake.path, "status")
    assert done.returncode == 1 and done.stderr == "weirctl: weir answered with status 503\n"


def test_unreachable_is_3_and_says_what_to_check(tmp_path):
    nobody = tmp_path / "dead.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(nobody))
    dead.close()
    for path, sentence in ((tmp_path / "none.sock", "is weir running?"),
                           (nobody, "nobody listens on"), ("/" + "x" * 200, "cannot connect to")):
        done = ctl("-s", str(path), "status")
        assert (done.returncode, done.stdout) == (3, "")
        assert sentence in done.stderr
    if os.geteuid() != 0:
        nobody.chmod(0)
        assert "no permission to use" in ctl("-s", str(nobody), "status").stderr


def test_a_silent_daemon_is_given_up(fake, tmp_path):
    """However often weirctl itself is stopped meanwhile."""
    fake.silent = True
    child = Process([WEIRCTL, "-s", fake.path, "status"], tmp_path, "weirctl", env=environment())

    def over():
        for number in (signal.SIGSTOP, signal.SIGCONT):
            if child.alive():
                child.kill(number)
                time.sleep(0.1)
        return not child.alive()
    wait_for(over, what="it gives up")
    assert child.child.returncode == 3
    assert "does not answer" in child.stderr


@pytest.mark.parametrize("args, sentence", [
    ([], "which command?"),
    (["statsu"], 'unknown command "statsu"; did you mean "status"?'),
    (["conn"], 'did you mean "connections"?'),
    (["frobnicate"], "weirctl --help lists them"),
    (["status", "x"], "status takes no arguments"),
    (["drain"], "drain takes POOL/BACKEND"),
    (["drain", "app"], "names no backend"),
    (["drain", "/b"], "is not of the form POOL/BACKEND"),
    (["drain", "app/"], "is not of the form POOL/BACKEND"),
    (["weight", "app/b1"], "weight takes POOL/BACKEND N"),
    (["status", "--phase", "x"], "status takes no --phase"),
    (["drain", "app/b1", "-w"], "drain takes no -w"),
    (["drain", "app/b1", "-f"], "drain takes no -f"),
    (["-w0", "status"], "-w takes 0.1 to 86400 seconds"),
    (["-wx", "status"], "-w takes 0.1 to 86400 seconds"),
    (["-x", "status"], "unknown option -x"),
    (["--frob", "status"], "option --frob is unknown"),
    (["status", "-s"], "option -s needs a value"),
    (["explain", "GET", "/", "-H", "nocolon"], "-H takes 'NAME: VALUE'"),
    (["backends", "app/b1"], "backends takes a pool"),
    (["check", "--json"], "check takes no --json"),
])
def test_wrong_usage_is_2(fake, args, sentence):
    done = ctl(*args, env=environment(WEIR_SOCKET=fake.path))
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert [request for request in fake.requests if request[0] != "GET"] == []


def test_help_knows_every_command():
    out = ctl("--help").stdout
    commands = re.findall(r"^  ([a-z]+)\b", out.split("options:")[0], re.M)
    assert {"status", "pools", "check", "remove", "histogram"} <= set(commands)
    for command in commands:
        done = ctl(command, "--help")
        assert done.returncode == 0 and done.stdout.startswith("usage: weirctl ")
    assert ctl("-V").stdout.startswith("weirctl ")


def test_the_manual_knows_every_command():
    page = (Path(__file__).resolve().parents[2] / "man" / "weirctl.1").read_text()
    for command in re.findall(r"^  ([a-z]+)\b", ctl("--help").stdout.split("options:")[0], re.M):
        assert re.search(rf"^\.It (Cm|Ic) {command}\b", page, re.M), command


def test_the_default_socket():
    if os.geteuid() == 0:
        assert "no socket at /run/weir/weir.sock" in ctl("status").stderr
    else:
        assert "no socket at /nowhere/weir.sock" in ctl(
            "status", env=environment(XDG_RUNTIME_DIR="/nowhere")).stderr
        assert f"/tmp/weir-{os.geteuid()}/weir.sock" in ctl("status").stderr
    assert "no socket at /else" in ctl("status", env=environment(WEIR_SOCKET="/else")).stderr


# ---- terminal ----

def on_terminal(args, enough, env=None, lines=0):
    """What weirctl writes to a terminal until `enough(text)`; then it is ended."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    process = subprocess.Popen([WEIRCTL, *args], stdout=slave, stderr=slave, close_fds=True,
                               env=env or environment(TERM="xterm"))
    os.close(slave)
    text, deadline = "", time.monotonic() + 20
    while not enough(text) and time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            text += os.read(master, 65536).decode()
        except OSError:
            break
    process.terminate()
    process.wait()
    os.close(master)
    return text


def test_state_is_coloured_on_a_terminal_only(fake):
    def done(text):
        return "refused" in text

    assert "\033[31m41 s: connect" in on_terminal(["-s", fake.path, "backends"], done)
    for extra in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        assert "\033" not in on_terminal(["-s", fake.path, "backends"], done, environment(**extra))


def test_watching_redraws_on_a_terminal(fake):
    text = on_terminal(["-s", fake.path, "-w0.1", "pools"], lambda t: t.count("POOL") >= 3)
    assert text.startswith("\033[2J")
    assert text.count("\033[H") >= 3


def test_watching_keeps_to_the_terminal(fake):
    fake.world["pools"][0]["backends"] += [backend(f"x{i}") for i in range(40)]
    text = on_terminal(["-s", fake.path, "-w0.1", "backends"], lambda t: t.count("BACKEND") >= 3,
                       lines=10)
    pictures = text.split("\033[H")[1:]
    assert pictures[1].count("\n") == 9
    assert pictures[1].startswith("\033[?7l"), "long lines are cut"


def test_watching_appends_elsewhere(fake):
    for flags, first in ((["-w0.1"], "POOL"), (["-w0.1", "--json"], '{"pools":[')):
        with subprocess.Popen([WEIRCTL, "-s", fake.path, *flags, "pools"], text=True,
                              stdout=subprocess.PIPE, env=environment()) as process:
            seen = 0
            while seen < 3:
                line = process.stdout.readline()
                assert "\033" not in line
                seen += line.startswith(first)
            process.terminate()
            process.stdout.read()
