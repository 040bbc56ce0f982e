# SPDX-License-Identifier: MIT
"""What is overloaded, slow, killed or restarted; each with the count of failed requests."""
import json
import os
import signal
import subprocess
import threading
import time

import h2.settings
import pytest

from backends import binary, free_port
from h2peer import H2Server
from openloop import Load
from wire import PATIENCE, SLOW, TIMEOUT, Client, at_best, wait_for


CHAOS = bool(os.environ.get("WEIR_CHAOS"))  # scripts/chaos: longer, and times count
QUICK = int(os.environ.get("WEIR_CHAOS", "1"))


@pytest.fixture(autouse=True)
def longer(bounded):
    """scripts/chaos runs the same for minutes."""
    signal.alarm(4 * PATIENCE * SLOW * QUICK)


def named(apps, **more):
    return [{"address": a, "name": f"b{i}", **more} for i, a in enumerate(apps.addresses)]


def in_turn(apps):
    """b0 is asked first, b1 when b0 is late: the other way round it would be chance how late b1 is."""
    return [{**each, "priority": i} for i, each in enumerate(named(apps))]


def pool_row(daemon):
    return daemon.pools()[0]


def tell(what, requests, lost, facts, wrong=0, back=None):
    """A row of the table that scripts/chaos prints.  lost: without a whole answer; wrong: with
    another answer than it should be; back: seconds from the end of the trouble until all is well,
    or "never"; None where nothing has to come back."""
    back = "-" if back is None else back if isinstance(back, str) else f"{back:.2f} s"
    if CHAOS:
        with open(os.environ["WEIR_CHAOS_TABLE"], "a", encoding="utf-8") as table:
            table.write(f"{what}\t{requests}\t{wrong}\t{lost}\t{back}\t{facts}\n")


def tell_load(what, load, facts, accepted=(200,), back=None):
    wrong = sum(n for s, n in load.statuses.items() if s not in accepted)
    tell(what, len(load.rows) + len(load.failed), len(load.failed), facts, wrong, back)


def back_after(port, within=20):
    """Seconds until a new client is answered as it should be; "never" after `within`."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        try:
            with Client(port, timeout=1) as client:
                if client.ask().status == 200:
                    return time.monotonic() - began
        except (OSError, AssertionError):
            time.sleep(0.02)
    return "never"


def ask_and_stay(port, idle, timeout):
    """Of a new client that stays: ("ok", "wrong" or "lost", seconds)."""
    began = time.monotonic()
    try:
        idle.append(Client(port, timeout=timeout))
        end = "ok" if idle[-1].ask().status == 200 else "wrong"
    except (OSError, AssertionError):
        end = "lost"
    return end, time.monotonic() - began


# ---- overload ----

def overload(weir, app, **queue):
    """80 requests/s is what 2 backends x 4 slots x 100 ms can do, on the slowest machine."""
    apps = app(2, "service=100ms,workers=4")
    daemon = weir(named(apps), pool={"limits": {"requests": 4}, "queue": queue},
                  listener={"refusal_header": "X-Refused"})
    return apps, daemon


@pytest.mark.slow
def test_overload_keeps_goodput_and_bounds_the_wait(weir, app):
    """Twice of what the backends can do, for a minute with scripts/chaos; then half of it."""
    apps, daemon = overload(weir, app, target="50ms", timeout="3s")
    seconds = 60 if CHAOS else 4
    if CHAOS:
        signal.alarm(240)
    with Load(daemon.port, 160) as load:
        time.sleep(seconds)
        end = time.monotonic()
        load.rate = 40
        time.sleep(8 if CHAOS else 2)
    begin = load.rows[0][0]
    assert not load.failed
    assert set(load.statuses) == {200, 503}, load.statuses
    goodput = load.count(begin + 1, end) / (end - begin - 1)
    p99 = load.quantile(0.99, begin + 1, end)
    recovered = max(at + t for at, t, status, _ in load.rows if status == 503) - end
    row = pool_row(daemon)
    assert row["queue_shed"] + row["queue_timeouts"] + row["queue_full"] == load.statuses[503]
    assert row["queue_shed"] > 0.9 * load.statuses[503], row
    tell(f"overload at 200 % for {seconds} s", len(load.rows), len(load.failed),
         f"goodput {goodput:.1f}/s of 80/s ({goodput / 0.8:.0f} %), {load.statuses[503]} refused; p99 "
         f"of the accepted {p99 * 1e3:.0f} ms; recovered from the last refusal on, after the "
         f"load fell to 50 %, p99 then {(load.quantile(0.99, end + 1) or 0) * 1e3:.0f} ms",
         back=max(recovered, 0))
    if CHAOS:
        assert goodput > 0.9 * 80 and p99 < 1.5 and recovered < 2, (goodput, p99, recovered)
    assert goodput > 0.7 * 80, goodput
    with Load(daemon.port, 25) as after:  # it is over, and nothing is left of it
        after.wait_for(30)
    assert set(after.statuses) == {200} and not after.failed, after.statuses


# ---- one that is slow, or fails fast ----

def open_loop(daemon, rate, seconds):
    """What weir-load saw: {"sent", "ok", "errors", ..., "p99_us"}."""
    done = subprocess.run([binary("weir-load"), "--target", f"127.0.0.1:{daemon.port}", "--rate",
                           str(rate), "--seconds", f"{seconds}s"], capture_output=True, text=True,
                          timeout=seconds + 60, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_one_ten_times_slower_is_hardly_noticed(weir, app):
    """p99 of the pool within 1.3 times of that of a pool without it."""
    apps = app(4, "service=10ms,dist=exp", ["3:service=100ms"])
    seconds, p99 = 15 if CHAOS else 2, {}
    requests = failed = 0
    for n in (3, 4):
        daemon = weir(named(apps)[:n])
        open_loop(daemon, 400, 3 if CHAOS else 1)
        apps.reset()
        seen = open_loop(daemon, 400, seconds)
        p99[n] = seen["p99_us"] / 1000
        requests += seen["sent"]
        failed += seen["sent"] - seen["ok"]
        daemon.finish()
    share = apps.stats(3)["requests"] / apps.total("requests")
    tell("one of 4 backends 10 x slower", requests, failed,
         f"p99 {p99[4]:.1f} ms, without it {p99[3]:.1f} ms ({p99[4] / p99[3]:.2f} x); "
         f"it got {share * 100:.2f} % of the requests")
    assert failed == 0
    # a quarter would be its part; on a busy machine the others have no room at times
    assert share < (0.05 if CHAOS else 0.2), share
    if CHAOS:
        assert p99[4] < 1.3 * p99[3], p99


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["auto", "random"])
def test_one_that_fails_fast_gets_little(weir, app, balance):
    """At most 2/N of the traffic before it is ejected: here not even ten requests."""
    apps = app(4, "service=5ms", ["2:status=500,service=0"])
    daemon = weir(named(apps), pool={"balance": balance, "outlier": {"eject": "300s"}})
    with Load(daemon.port, 200) as load:
        load.wait_for(100 * QUICK)
        wait_for(lambda: daemon.backends()["b2"]["state"] == "ejected", 30)
    assert not load.failed and set(load.statuses) <= {200, 500}
    last = max(at + t for at, t, status, _ in load.rows if status == 500)
    before = load.count(until=last) + load.statuses[500]
    tell_load(f"one of 4 answers 500 at once, {balance}", load,
              f"{load.statuses[500]} of the first {before} requests; then ejected")
    assert 5 <= load.statuses[500] <= 20, load.statuses
    if balance == "random":
        assert load.statuses[500] <= max(10, 2 / 4 * before)


# ---- flapping ----

@pytest.mark.slow
def test_flapping_costs_no_descriptors(weir, app):
    """Three of ten go down and up all the time: every check's descriptor comes back."""
    n = 1000 if CHAOS else 60
    apps = app(n)
    daemon = weir(named(apps), pool={"health": {"path": "/", "interval": "500ms",
                                                "fast_interval": "100ms", "rise": 1, "fall": 1},
                                     "keepalive": {"max_idle": 4}})
    daemon.fd_check = False
    wait_for(lambda: all(r["state"] == "up" for r in daemon.backends().values()), 30)
    stop, seen, flips = threading.Event(), [], [0]

    def flap():
        while not stop.is_set():
            for i in range(0, n, 10):
                for k in (i, i + 3, i + 6):
                    apps.set(k, status=200 if flips[0] % 2 else 500)
                if stop.is_set():
                    return
            flips[0] += 1
    flapper = threading.Thread(target=flap)
    cpu = {}
    with Load(daemon.port, 300) as load:
        for what in ("quiet", "flapping"):
            if what == "flapping":
                flapper.start()
            began, had = daemon.cpu_seconds(), len(load.rows)
            for _ in range(10 * QUICK):
                load.wait_for(len(load.rows) + 60, 60)
                clients = connections(daemon)
                beside = daemon.fds() - daemon.sum("upconns")
                seen.append(beside - max(clients, connections(daemon)))
            cpu[what] = (daemon.cpu_seconds() - began) / (len(load.rows) - had) * 1e6
        stop.set()
        flapper.join()
    changes = sum("down" in e["message"] for e in daemon.events())
    tell_load(f"{n} backends, {3 * n // 10} of them flapping", load,
              f"{changes} of the last events say down; descriptors beside connections "
              f"{min(seen)} to {max(seen)}; {cpu['quiet']:.0f} us of CPU a request with its checks, "
              f"flapping {cpu['flapping']:.0f}", (200, 500))
    assert not load.failed and set(load.statuses) <= {200, 500}
    assert load.statuses[200] > 5 * load.statuses[500], load.statuses
    for i in range(n):
        if i % 10 in (0, 3, 6):
            apps.set(i, status=200)
    # at most CHECKS_MAX run at once, whatever flaps
    assert max(seen) - daemon.idle_fds < 256 + 40, (daemon.idle_fds, seen)
    daemon.conf["pools"]["app"].pop("health")
    daemon.reload(daemon.conf)
    wait_for(lambda: daemon.fds() - daemon.sum("upconns") <= daemon.idle_fds, 30,
             "every descriptor is back")


def connections(daemon):
    """Of clients; what the kernel has accepted and weir has not is no descriptor of its yet."""
    return daemon.admin.get("/v1/status")["totals"]["connections"]


def test_the_refusal_says_which_limit(weir, scripted):
    let_go = threading.Event()

    def handler(peer):
        while peer.request():
            let_go.wait(8 * TIMEOUT)
            peer.respond()
    backend = scripted(handler)
    daemon = weir([backend.address], pool={"limits": {"requests": 1},
                                           "queue": {"length": 1, "timeout": "300s"}},
                  listener={"refusal_header": "X-Refused"})
    holder, waiting = daemon.connect(), daemon.connect()
    holder.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: backend.n_requests == 1)
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: pool_row(daemon)["queued"] == 1)
    refused = daemon.ask()
    assert (refused.status, refused.get("X-Refused")) == (503, "queue_full")
    wait_for(lambda: daemon.admin.metrics()['weir_exchanges_total{outcome="queue_full"}'] == 1)
    waiting.close()
    wait_for(lambda: pool_row(daemon)["queued"] == 0)
    daemon.conf["pools"]["app"]["queue"]["timeout"] = "100ms"
    daemon.reload(daemon.conf)  # the place is still taken by who had it
    timed_out = daemon.ask()
    assert (timed_out.status, timed_out.get("X-Refused")) == (503, "queue_timeout")
    assert timed_out.get("Retry-After")
    let_go.set()
    assert holder.response().status == 200


def test_high_priority_comes_first_and_low_makes_room(weir, app):
    apps = app(1, "service=30ms,workers=1")
    daemon = weir(named(apps), pool={"limits": {"requests": 1},
                                     "queue": {"length": 6, "timeout": "60s", "target": 0}},
                  workers=1, listener={"refusal_header": "X-Refused"},
                  routes=[{"match": {"path": "/high"}, "priority": "high", "pool": "app"},
                          {"match": {"path": "/low"}, "priority": "low", "pool": "app"},
                          {"pool": "app"}])
    apps.set(0, hang=1, service=0)
    first = daemon.connect()
    first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: apps.stats(0)["in_progress"] == 1)
    apps.set(0, hang=0, service="1ms")
    clients = []
    for target in ("/low", "/low", "/n", "/n", "/n", "/n"):
        clients.append(daemon.connect())
        clients[-1].send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_for(lambda: pool_row(daemon)["queued"] == len(clients))
    high = daemon.connect()
    high.send(b"GET /high HTTP/1.1\r\nHost: a\r\n\r\n")
    pushed_out = clients[1].response()
    assert (pushed_out.status, pushed_out.get("X-Refused")) == (503, "queue_shed")
    apps.go()
    assert [c.response().status for c in (first, high, *clients[:1], *clients[2:])] == [200] * 7
    assert pool_row(daemon)["queue_shed"] == 1


# ---- adaptive limits ----

@pytest.mark.slow
def test_an_adaptive_limit_finds_what_the_backend_can_do(weir, app):
    """8 workers of 40 ms: 200 requests/s.  More than that wait in weir, not in the backend."""
    apps = app(1, "service=40ms,workers=8")
    daemon = weir(named(apps), pool={"limits": {"adaptive": "on"},
                                     "queue": {"timeout": "1s", "target": "50ms"}})
    row = daemon.backends()["b0"]
    assert row["limit"] == 20 and row["adaptive"]["baseline_us"] == 0
    with Load(daemon.port, 30) as load:
        wait_for(lambda: daemon.backends()["b0"]["adaptive"]["baseline_us"] > 0, 10)
    assert load.statuses[200] == len(load.rows) and not load.failed

    def lost():
        """Of what the backend could have done: on a busy machine it is more."""
        with Load(daemon.port, 350) as load:
            time.sleep(3 * QUICK)
            row = daemon.backends()["b0"]
            assert 6 <= row["limit"] <= 32, row["adaptive"]
            assert row["in_flight"] <= row["limit"] + 1
        assert not load.failed
        begin = load.rows[0][0]
        return 1 - load.count(begin + 1, begin + 3 * QUICK) / (3 * QUICK - 1) / 200
    at_best(lost, 0.3 if SLOW == 1 else 1 - 0.7 / 4)
    assert pool_row(daemon)["queue_shed"] > 0


def test_an_adaptive_limit_obeys_the_configured_one_and_goes_with_a_reload(weir, app):
    apps = app(1)
    daemon = weir(named(apps, max_requests=3), pool={"limits": {"adaptive": "on"}})
    assert daemon.backends()["b0"]["limit"] == 3
    assert daemon.ask().status == 200
    daemon.conf["pools"]["app"]["limits"] = {"adaptive": "off"}
    daemon.conf["pools"]["app"]["backends"][0]["max_requests"] = 0
    daemon.reload(daemon.conf)
    row = daemon.backends()["b0"]
    assert row["limit"] == 0 and "adaptive" not in row
    assert daemon.ask().status == 200


# ---- restarts and kills, under load ----

class Fleet:
    """Backends that can be killed and come back at the same address, one process each."""

    def __init__(self, app, n, defaults):
        self.app, self.defaults = app, defaults
        self.ports = [free_port() for _ in range(n)]
        self.apps = [self.start(i) for i in range(n)]
        self.backends = [{"address": f"127.0.0.1:{p}", "name": f"b{i}"}
                         for i, p in enumerate(self.ports)]

    def start(self, i):
        return self.app(1, self.defaults, options=["--listen", f"127.0.0.1:{self.ports[i]}"])

    def restart(self, i):
        self.apps[i].stop(signal.SIGTERM)
        self.apps[i] = self.start(i)

    def requests(self, i):
        return self.apps[i].stats(0)["requests"]


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [False, True])
def test_rolling_restart_fails_nobody(weir, app, tmp_path, sticky):
    fleet = Fleet(app, 4, "service=10ms")
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    pool = {"sticky": {"key_file": str(key)}} if sticky else {}
    daemon = weir(fleet.backends, pool=pool)
    headers = ""
    if sticky:
        headers = f"Cookie: {daemon.ask().get('Set-Cookie').split(';')[0]}\r\n"
    with Load(daemon.port, 200, headers=headers) as load:
        for i in range(4 * QUICK):
            load.wait_for(len(load.rows) + 50)
            daemon.ctl("drain", f"app/b{i % 4}", "--wait=1s", check=0)
            if sticky:  # its client is moved now
                daemon.ctl("maintenance", f"app/b{i % 4}", "--wait=10s", check=0)
            fleet.restart(i % 4)
            daemon.ctl("enable", f"app/b{i % 4}", check=0)
        load.wait_for(len(load.rows) + 50)
    tell_load(f"rolling restart of 4, {'pinned' if sticky else 'plain'} clients", load,
              f"{4 * QUICK} restarts with drain --wait")
    assert not load.failed and set(load.statuses) == {200}, (load.failed[:3], load.statuses)
    if not sticky:
        assert all(fleet.requests(i) > 0 for i in range(4))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_killed_backend_costs_at_most_what_it_had(weir, app, method):
    fleet = Fleet(app, 4, "service=20ms")
    daemon = weir(fleet.backends, pool={"outlier": {"eject": "500ms"}})
    headers = "Content-Length: 0\r\n" if method == "POST" else ""
    with Load(daemon.port, 300, headers=headers, method=method) as load:
        for i in range(2 * QUICK):
            load.wait_for(len(load.rows) + 100)
            fleet.apps[i % 4].stop(signal.SIGKILL)
            load.wait_for(len(load.rows) + 200)
            fleet.restart(i % 4)
        wait_for(lambda: all(fleet.requests(i) for i in range(4)), 10, "all have their share")
    tell_load(f"kill -9 of one of 4, {method}", load, f"{2 * QUICK} kills")
    assert not load.failed, load.failed[:3]
    lost = sum(n for status, n in load.statuses.items() if status != 200)
    in_flight = 10 * QUICK * (1 if SLOW == 1 else 10)  # 300/s x 20 ms / 4 is 1.5 each
    assert lost <= (0 if method == "GET" else 2 * in_flight), load.statuses


@pytest.mark.slow
def test_a_stopped_backend_is_passed_over_and_comes_back(weir, app):
    """SIGSTOP: it accepts connections and never answers.  Nobody waits for it longer than
    retry.attempt_timeout, and those who did are served elsewhere."""
    fleet = Fleet(app, 4, "service=10ms")
    daemon = weir(fleet.backends, pool={"retry": {"attempt_timeout": "150ms"},
                                        "outlier": {"eject": "500ms"}})
    with Load(daemon.port, 150) as load:
        for i in range(QUICK):
            load.wait_for(len(load.rows) + 50)
            fleet.apps[i % 4].kill(signal.SIGSTOP)
            try:
                load.wait_for(len(load.rows) + 150)
            finally:
                fleet.apps[i % 4].kill(signal.SIGCONT)
            before = daemon.backends()[f"b{i % 4}"]["responses_2xx"]
            wait_for(lambda: daemon.backends()[f"b{i % 4}"]["responses_2xx"] > before + 5, 15,
                     "it has traffic again")
    tell_load("kill -STOP of one of 4", load, f"{QUICK} times; p99 "
              f"{load.quantile(0.99) * 1e3:.0f} ms with attempt_timeout 150 ms")
    assert not load.failed and set(load.statuses) == {200}, (load.failed[:3], load.statuses)
    row = pool_row(daemon)
    assert 0 < row["retries"] < 0.2 * row["requests"] + 100, row


# ---- what is ordinary: no descriptors, no streams ----

def tell_clients(what, ends, facts, back):
    """Of rows of ask_and_stay."""
    n = {kind: sum(end == kind for end, _ in ends) for kind in ("wrong", "lost")}
    tell(what, len(ends), n["lost"], f"the slowest new client waited "
         f"{max(seconds for _, seconds in ends) * 1000:.0f} ms; {facts}", n["wrong"], back)


@pytest.mark.slow
def test_descriptors_at_the_limit(weir, app):
    """Idle clients take them all; every new one is served at once all the same."""
    daemon = weir(app(2).addresses, wrapper=["prlimit", "--nofile=200:200"], pool={
        "balance": "round-robin"}, listener={"timeouts": {"keepalive": "300s"}})
    daemon.fd_check = False
    idle, n = [], 300 * QUICK
    ends = [ask_and_stay(daemon.port, idle, 5) for _ in range(n)]
    before = daemon.cpu_seconds()
    time.sleep(1)
    spun = daemon.cpu_seconds() - before
    closed = daemon.admin.get("/v1/status")["totals"]["idle_closed"]
    for client in idle:
        client.close()
    tell_clients("200 descriptors, idle clients hold them", ends, f"{closed} idle ones closed",
                 back_after(daemon.port))
    assert {end for end, _ in ends} == {"ok"} and spun < 0.5


def streams_when(allowed):
    """HTTP/2 that allows no streams until it is to."""
    def handler(peer):
        server = H2Server(peer, {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})
        peer.sock.settimeout(0.05)
        open_now = False
        while True:
            if allowed.is_set() and not open_now:
                server.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
                server.flush()
                open_now = True
            try:
                if not server.turn():
                    return
            except TimeoutError:
                continue
            for number, req in list(server.streams.items()):
                if req.ended:
                    del server.streams[number]
                    server.head(number)
                    server.data(number, b"ok", end=True)
    return handler


@pytest.mark.slow
def test_a_backend_that_allows_no_streams(weir, scripted):
    """Its share goes to the other; and it has it back when it allows some."""
    allowed, always = threading.Event(), threading.Event()
    always.set()
    backends = [scripted(streams_when(allowed)), scripted(streams_when(always))]
    daemon = weir([{"address": each.address, "name": f"b{i}"} for i, each in enumerate(backends)],
                  pool={"protocol": "h2", "balance": "round-robin"})
    wait_for(lambda: daemon.ask().status == 200)
    answers = [daemon.ask().status for _ in range(200 * QUICK)]
    lost = sum(1 for status in answers if status != 200)
    opened = backends[0].connections
    allowed.set()
    began = time.monotonic()
    wait_for(lambda: daemon.ask() and daemon.backends()["b0"]["responses_2xx"] > 0)
    back = time.monotonic() - began
    tell("a backend that allows 0 streams, of 2", len(answers), lost,
         f"{opened} connections to it; recovered: it allows some, and serves", back=back)
    assert lost == 0 and opened <= 8
