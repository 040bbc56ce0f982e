# SPDX-License-Identifier: MIT
"""What a request costs in instructions of weir's own code, against tests/perf/instructions.json.

callgrind counts between two requests of one connection, so neither starting nor the first use
of anything is in the figure; libc, libev and the kernel are not, either: those differ between
machines.  What is counted does not, as long as the same compiler made it: what statistics do
depends on the times that they are told, so the clock goes on by 20 us each time a thread asks
(not where reads are counted: those are of windows of real seconds).

A change that makes a request dearer by more than 2 % fails here.  When it has to be, and after
every change that makes one cheaper:

  WEIR_RECORD=1 WEIR_BUILD=$PWD/build /usr/bin/python3 -m pytest tests/e2e/test_instructions.py
"""
import json
import os
import platform
import re
import selectors
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path

import h2wire
import pytest

from backends import binary, build_dir
from daemon import SANITIZED, built
from wire import SLOW, request

FIGURES = Path(__file__).resolve().parents[1] / "perf" / "instructions.json"
TOLERANCE = 1.02
TOLERANCE_READ = 1.20  # over how many seconds samples are spread depends on the machine
RECORD = "WEIR_RECORD" in os.environ
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
BROWSER = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
           ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
           ("Accept-Language", "en-US,en;q=0.5"), ("Accept-Encoding", "gzip, deflate, br, zstd"),
           ("Cookie", "session=2c26b46b68ffc68ff99b453c1d304134; theme=dark"),
           ("Upgrade-Insecure-Requests", "1"), ("Sec-Fetch-Dest", "document")]


class Backends:
    """A server on one port of all loopback addresses; answers a request with ANSWER."""

    def __init__(self):
        self.sock = socket.create_server(("0.0.0.0", 0), backlog=2048)
        self.port = self.sock.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.left = {}  # body bytes that still come, by connection
        self.selector.register(self.sock, selectors.EVENT_READ, self.accept)
        self.waker, end = socket.socketpair()
        self.selector.register(end, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def addresses(self, n):
        return [f"127.1.{i // 250}.{i % 250 + 1}:{self.port}" for i in range(n)]

    def accept(self, sock):
        conn, _ = sock.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left[conn] = 0
        self.selector.register(conn, selectors.EVENT_READ, self.read)

    def read(self, conn):
        try:
            data = conn.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(conn)
            del self.left[conn]
            conn.close()
            return
        if self.left[conn] == 0:
            head, end, body = data.partition(b"\r\n\r\n")
            assert end, data
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            self.left[conn] = (int(length.group(1)) if length else 0) - len(body)
        else:
            self.left[conn] -= len(data)
        if self.left[conn] == 0:
            conn.sendall(ANSWER)

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def stop(self):
        self.waker.close()
        self.thread.join()
        for conn in [self.sock, *self.left]:
            conn.close()
        self.selector.close()


def plain(n_backends=1, n_routes=0, **conf):
    def make(backends, folder):
        routes = [{"name": f"r{i}", "match": {"host": [f"h{i}.example.com"]}, "pool": "app"}
                  for i in range(n_routes)]
        log = {"access": {"path": str(folder / "access.log")}} if conf.get("log") else {}
        return {
            "backends": backends.addresses(n_backends), "workers": 1, "log": log,
            "pool": {"balance": conf.get("balance", "auto")},
            "routes": [{"name": "mark", "match": {"path_exact": "/mark"},
                        "respond": {"status": 204}}, *routes, {"name": "rest", "pool": "app"}],
        }
    return make


# name: configuration, request, how many before and how many that count.  Many backends need many
# before, until their rings of the slowest exchanges seldom take one more.
GET = request("GET", "/")
GET_H2 = h2wire.GET  # fields: over HTTP/2, nghttp2 apart
SCENARIOS = {
    "get": (plain(), GET, 200, 1000),
    "get_h2": (plain(), GET_H2, 200, 1000),
    "get_browser": (plain(), request("GET", "/a/page?with=query", BROWSER), 200, 1000),
    "post_16k": (plain(), request("POST", "/", body=b"x" * 16384), 100, 500),
    "access_log": (plain(log=True), GET, 200, 1000),
    "backends_200": (plain(200, balance="round-robin"), GET, 12000, 1000),
    "routes_2000": (plain(n_routes=2000), request("GET", "/", host="h1900.example.com"), 200, 1000),
}


def compiler():
    """The compiler that made weir, as it says itself: name and major version."""
    comment = re.search(rb"(GCC|clang)[^\0]*?(\d+)\.\d+\.\d+", Path(binary("weir")).read_bytes())
    return f"{comment.group(1).decode()} {comment.group(2).decode()}" if comment else "unknown"


def build_kind():
    cache = (Path(build_dir()) / "CMakeCache.txt").read_text()
    return re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.M).group(1)


def own_instructions(path, program):
    """{function: instructions} of the program's object in a callgrind file of uncompressed names."""
    functions = Counter()
    own = skip = False
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("ob="):
            own = line.endswith(f"/{program}")
        elif line.startswith("fn="):
            name = line[3:]
        elif line.startswith("calls="):
            skip = True  # the next line is the cost of what was called
        elif line[:1].isdigit():
            if own and not skip:
                functions[name] += int(line.split()[1])
            skip = False
    return functions


def exchange(client, req, end=ANSWER[-5:]):
    """Not Client.ask: this is done by the ten thousand."""
    client.sock.sendall(req)
    got = client.sock.recv(4096)
    while not got.endswith(end):
        more = client.sock.recv(4096)
        assert more, got
        got += more


class Asker:
    """Asks over one connection: bytes over HTTP/1, fields over HTTP/2."""

    def __init__(self, daemon, req):
        self.h2 = h2wire.H2(daemon.port, windows=False) if isinstance(req, list) else None
        self.client = self.h2 or daemon.connect()
        self.req = req
        self.stream = 1

    def ask(self):
        if self.h2:
            self.ask_h2(self.req, 200)
        else:
            exchange(self.client, self.req)

    def mark(self):
        if self.h2:
            self.ask_h2([*self.req[:3], (":path", "/mark")], 204)
        else:
            exchange(self.client, request("GET", "/mark"), b"\r\n\r\n")

    def ask_h2(self, fields, status):
        assert self.h2.ask(self.stream, fields).status == status
        self.stream += 2


def read_all(daemon):
    """What monitoring reads."""
    for path in ("/v1/pools", "/metrics"):
        answer = daemon.admin.call("GET", path)
        assert answer.status == 200 and len(answer.body) > 100000, (path, answer.status)


@pytest.fixture
def measure(weir, tmp_path):
    """measure(*scenario) -> {function: instructions a request}

    With reads=N, what N times read_all() costs instead, divided by N; `before` requests are the
    only ones then.
    """
    backends = Backends()
    clock = built(tmp_path, "steady_clock")

    def run(make, req, before, n, program="weir", reads=0):
        out = tmp_path / "callgrind.out"
        # what is answered by a route zeroes the counts: a mark between warm-up and measurement
        wrapper = ["valgrind", "--tool=callgrind", "-q", "--zero-before=reply_route*",
                   f"--callgrind-out-file={out}", "--compress-strings=no", "--compress-pos=no"]
        turn = ["on_io", "on_turn_end"]  # of the loop: what is called by an address stays whole
        wrapper += [f"--toggle-collect={f}*" for f in
                    (["api_pools", "api_metrics"] if reads else turn)]
        daemon = weir(ready=False, wrapper=wrapper, program=program,
                      env={} if reads else {"LD_PRELOAD": str(clock)},
                      **make(backends, tmp_path))
        daemon.wait_ready(daemon.answers, 100)
        asker = Asker(daemon, req)
        for _ in range(before):
            asker.ask()
        if reads:  # all that was sent is in the windows
            daemon.wait_ready(lambda: before <= daemon.admin.get("/v1/pools/app")["latency"]
                              ["start"]["total"]["n"], 100)
        asker.mark()
        for _ in range(reads):
            read_all(daemon)
        for _ in range(n):
            asker.ask()
        asker.client.close()
        daemon.checked = True  # what finish() asks for takes too long under valgrind
        daemon.kill(signal.SIGTERM)
        daemon.wait(60)
        assert daemon.child.returncode == 0, daemon.stderr
        return {name: total / (n or reads)
                for name, total in own_instructions(out, program).items()}
    yield run
    backends.stop()


def figures():
    return json.loads(FIGURES.read_text()) if FIGURES.exists() else {}


def record(name, cost):
    known = figures()
    if known.get("compiler") != compiler():
        known = {}
    kept = {**known.get("instructions", {}), name: round(cost)}
    FIGURES.write_text(json.dumps({"compiler": compiler(), "machine": platform.machine(),
                                   "instructions": dict(sorted(kept.items()))}, indent=2) + "\n")


def needs_same_build():
    if SANITIZED:
        pytest.skip("sanitizers add instructions of their own")
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed")
    if build_kind() != "RelWithDebInfo":
        pytest.skip("recorded for RelWithDebInfo")
    known = figures()
    if not RECORD and (known["compiler"], known["machine"]) != (compiler(), platform.machine()):
        pytest.skip(f"recorded with {known['compiler']} on {known['machine']}")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_request_costs_what_is_recorded(measure, name):
    needs_same_build()
    signal.alarm(600 * SLOW)
    if RECORD:
        record(name, sum(measure(*SCENARIOS[name]).values()))
        return
    then = figures()["instructions"][name]
    functions = measure(*SCENARIOS[name])
    now = sum(functions.values())
    assert now > then / 2, f"{now:.0f} instructions a request: not all that it costs was counted"
    if now <= then * TOLERANCE:
        return
    dearest = "\n".join(f"{n:8.0f} {f}" for f, n in Counter(functions).most_common(25))
    raise AssertionError(f"{now:.0f} instructions a request, recorded {then}:\n{dearest}")


@pytest.mark.slow
def test_what_statistics_cost(measure):
    """weir beside weir-bare, in which recording statistics is compiled out.

    Histograms, state bins, the slowest exchanges, meters of routes and listeners: at most 3 % of the
    CPU time of a request, which scripts/bench --rows stats measures; here its own instructions.
    """
    needs_same_build()
    signal.alarm(600 * SLOW)
    make, req, before, n = SCENARIOS["get"]
    bare = sum(measure(make, req, before, n, "weir-bare").values())
    if RECORD:
        record("statistics", sum(measure(make, req, before, n).values()) - bare)
        return
    then, whole = (figures()["instructions"][name] for name in ("statistics", "get"))
    most = then + whole * (TOLERANCE - 1) / 2  # a difference has the noise of both
    cost = sum(measure(make, req, before, n).values()) - bare
    assert 0 < cost <= most, f"{cost:.0f} instructions a request, recorded {then}"


@pytest.mark.slow
def test_what_monitoring_costs(measure):
    """A read of /v1/pools and /metrics, per backend: it decides how many can be watched.

    Own instructions only; scripts/bench --rows watched measures the time, which is as much that of
    memory.
    """
    needs_same_build()
    signal.alarm(600 * SLOW)
    n = 200
    then = figures()["instructions"].get("read_backend", 0)
    for _ in range(1 if RECORD else 3):  # a busy machine spreads samples over more seconds
        functions = measure(plain(n, balance="round-robin"), GET, 20 * n, 0, reads=5)
        now = sum(functions.values()) / n
        if now <= then * TOLERANCE_READ:
            break
    if RECORD:
        record("read_backend", now)
        return
    dearest = "\n".join(f"{v / n:8.0f} {f}" for f, v in Counter(functions).most_common(25))
    assert 0 < now <= then * TOLERANCE_READ, f"{now:.0f} a backend, recorded {then}:\n{dearest}"
