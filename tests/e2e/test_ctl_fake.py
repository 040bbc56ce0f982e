# SPDX-License-Identifier: MIT
"""weirctl against a fake daemon: what it asks for, what it prints, how it ends.

The fake serves canned answers in the shape of the API, whole, chunked, or until
close, so that every rule of weirctl is seen without a daemon that obeys.
"""
import json
import os
import re
import socket
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest


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
        for n, load in ((0, 1), (2, 1), (1, 1.5), (1, 2))]
    out = good(fake, "scaling", "app")
    assert "           with 2: of 2 and 1\n" in out
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
        "method": "GET", "url": "http://x/a b?c", "client": "192.0.2.1",
        "headers": [["X-A", "1"], ["X-A", "2"], ["Host", "y"]]})
    assert "route      api\n" in out
    assert ["b1", "up", "yes", "fewest in flight"] in rows(out)
    assert ["b2", "down", "no", "connect refused"] in rows(out)
    good(fake, "explain", "GET", "/")
    assert fake.requests[-1][2] == {"method": "GET", "url": "/", "headers": []}
    good(fake, "explain", "/a", "-H", "X: 1")  # GET unless written
    assert fake.requests[-1][2] == {"method": "GET", "url": "/a", "headers": [["X", "1"]]}


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
