# SPDX-License-Identifier: MIT
"""rate_limit of three weirs together, by a real Redis that also hangs, ends, forgets and is replaced."""
import signal
import threading
import time

import pytest

from backends import refused_address
from test_cluster import node, problems, redis  # noqa: F401, pylint: disable=unused-import
from wire import at_best, wait_for

RATE = 100
BURST = 50


def one_count(moments):
    """What a single weir lets through of requests at these moments."""
    n, ahead_of = 0, 0
    for at in sorted(moments):
        after = max(ahead_of, at) + 1 / RATE
        if after <= at + BURST / RATE + 1e-9:
            n, ahead_of = n + 1, after
    return n


class Load:
    """Threads that ask in turn until stopped, or 0.2 s in each second where there are bursts,
    each node's so much later than that of the one before; counts 200s by node."""

    def __init__(self, daemons, rates, bursts=False, apart=0.0):
        self.bursts, self.apart = bursts, apart
        self.passed, self.asked = [0] * len(daemons), [0] * len(daemons)
        self.moments = []  # of all requests, so that a busy machine is none of the limit's business
        self.statuses = set()
        self.done, self.begun = threading.Event(), time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(i, d, r))
                        for i, (d, r) in enumerate(zip(daemons, rates)) if r]
        for thread in self.threads:
            thread.start()

    def run(self, i, daemon, rate):
        with daemon.connect() as client:
            due = time.monotonic()
            while not self.done.is_set():
                sent = time.monotonic()
                status = client.ask().status
                self.moments.append((sent + time.monotonic()) / 2)
                self.statuses.add(status)
                self.asked[i] += 1
                self.passed[i] += status == 200
                due = self.after_pause(due + 1 / rate, i)
                self.done.wait(max(0, due - time.monotonic()))

    def after_pause(self, due, i):
        of_second = (due - self.begun - i * self.apart) % 1
        return due + 1 - of_second if self.bursts and of_second >= 0.2 else due

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.begun

    def off(self):
        """How much more than one count would let through."""
        return sum(self.passed) / one_count(self.moments) - 1


@pytest.fixture
def three(node, redis, scripted):  # noqa: F811
    server, backend = redis(), scripted()
    limit = [{"rate": f"{RATE}/s", "burst": BURST, "shared": True}]

    def start(name):
        return node(name, server, [backend.address],
                    routes=[{"name": "api", "pool": "app", "rate_limit": limit}])
    daemons = [start(name) for name in "abc"]
    for daemon in daemons:
        wait_for(lambda d=daemon: d.admin.get("/v1/status")["shared"]["others"] == 2, 15,
                 "all know each other")
    return server, daemons


def run(daemons, rates, seconds, **bursts):
    load = Load(daemons, rates, **bursts)
    time.sleep(seconds)
    load.stop()
    assert load.statuses <= {200, 429}, load.statuses
    return load


@pytest.mark.parametrize("rates", [(150, 150, 150), (300, 60, 15)], ids=["even", "uneven"])
def test_the_sum_is_the_limit(three, rates):
    _, daemons = three

    def off():
        """Within 0.02 on a quiet machine; who hears of the others late is off by more."""
        time.sleep(2 * BURST / RATE)  # none of the last time
        load = run(daemons, rates, 6)
        if rates[0] > rates[1]:  # who asks more has more
            parts = [passed / asked for passed, asked in zip(load.passed, load.asked)]
            assert parts[0] > parts[1] / 2, (load.passed, load.asked)
        return abs(load.off())
    at_best(off, 0.05)
    assert daemons[0].admin.get("/v1/status")["shared"]["rate_limit_keys"] == 1
    assert daemons[0].admin.get("/v1/limits")["limits"][0]["shared"] is True


@pytest.mark.parametrize("apart", [0, 0.2, 0.33])
def test_the_sum_is_the_limit_of_bursts(three, apart):
    """Of 0.2 s, at all nodes at once and at one after the other."""
    _, daemons = three

    def off():
        time.sleep(2 * BURST / RATE)  # none of the last time
        return abs(run(daemons, (300, 300, 300), 4, bursts=True, apart=apart).off())
    at_best(off, 0.05)


def test_below_the_limit_nobody_is_refused(three):
    _, daemons = three

    def refused():
        """None on a quiet machine; who is behind asks for all of that at once."""
        time.sleep(2 * BURST / RATE)  # none of the last time
        load = run(daemons, (60, 10, 5), 3)
        return sum(load.asked) - sum(load.passed)
    at_best(refused, 0)


def alone(daemon):
    return [p for p in problems(daemon) if "1/3" in p]


@pytest.mark.parametrize("trouble", ["killed", "hangs", "replaced"])
def test_without_redis_each_keeps_its_part(three, redis, trouble):  # noqa: F811
    server, daemons = three
    run(daemons, (100, 100, 100), 0.5)
    load = Load(daemons, (200, 200, 200))
    server.kill(signal.SIGSTOP if trouble == "hangs" else signal.SIGKILL)
    if trouble != "hangs":
        server.wait()
    for daemon in daemons:
        wait_for(lambda d=daemon: alone(d), 15, "it is said")
    if trouble == "replaced":
        redis(port=server.port)
        for daemon in daemons:
            wait_for(lambda d=daemon: not problems(d), 20, "all is well again")
    time.sleep(1.5)
    load.stop()
    assert load.statuses == {200, 429}
    right = RATE * load.seconds
    assert right * 0.8 < sum(load.passed) < right * 1.2 + RATE // 2, (load.passed, load.seconds)
    if trouble != "replaced":
        assert max(load.passed) < min(load.passed) * 1.4, load.passed
    if trouble == "hangs":
        server.kill(signal.SIGCONT)


def test_that_it_was_alone_is_over_when_nobody_asks(three, redis):  # noqa: F811
    server, daemons = three
    run(daemons, (100, 100, 100), 0.5)
    server.kill(signal.SIGKILL)
    server.wait()
    for daemon in daemons:
        wait_for(lambda d=daemon: alone(d), 15, "it is said")
    redis(port=server.port)
    for daemon in daemons:
        wait_for(lambda d=daemon: not problems(d), 20, "all is well again, without a request")


def test_a_refusal_is_over_when_nobody_asks(three):
    """Of a server without memory; that it has some again is heard by presence alone."""
    server, (daemon, *_) = three
    server.cli("CONFIG", "SET", "maxmemory", "1")

    def refused():
        daemon.ask()
        return "it refuses rate limits" in daemon.stderr
    wait_for(refused, 15, "a refusal")
    wait_for(lambda: daemon.admin.get("/v1/status")["shared"]["rate_limit_keys"] == 0, 30, "idle")
    server.cli("CONFIG", "SET", "maxmemory", "0")
    wait_for(lambda: not problems(daemon), 30, "it is over")


def test_flushed_it_is_not_a_new_burst(three):
    server, daemons = three

    def off():
        time.sleep(2 * BURST / RATE)
        load = Load(daemons, (150, 150, 150))
        for _ in range(3):
            time.sleep(1)
            server.cli("FLUSHALL")
        load.stop()
        return max(load.off() / 0.15, load.off() / -0.1)
    at_best(off, 1)


def test_a_limit_that_a_reload_changes_is_another(node, redis, scripted):  # noqa: F811
    """Also for a key that was never silent meanwhile."""
    def routes(rate, burst):
        return [{"name": "api", "pool": "app",
                 "rate_limit": [{"rate": rate, "burst": burst, "shared": True}]}]
    daemon = node("a", redis(), [scripted().address], routes=routes("100000/s", 100000))
    with daemon.connect() as client:
        wait_for(lambda: client.ask().status == 200
                 and daemon.admin.get("/v1/status")["shared"]["rate_limit_keys"] == 1, 15,
                 "the key is in use")
        daemon.reload({**daemon.conf, "routes": routes("1/h", 5)})
        statuses = [client.ask().status for _ in range(500)]
    assert 1 <= statuses.count(200) <= 5, statuses.count(200)
    assert set(statuses) == {200, 429}


def test_who_ends_gives_back_what_it_was_lent(node, redis, scripted):  # noqa: F811
    server, backend = redis(), scripted()
    limit = [{"rate": "1/h", "burst": 100, "shared": True}]

    def start():
        return node("a", server, [backend.address],
                    routes=[{"name": "api", "pool": "app", "rate_limit": limit}])
    first = start()
    wait_for(lambda: first.admin.get("/v1/status")["shared"]["connected"], 15, "a connection")
    assert first.ask().status == 200
    wait_for(lambda: "limit" in server.cli("KEYS", "*"), 15, "something is lent")
    first.stop()
    second = start()
    wait_for(lambda: second.admin.get("/v1/status")["shared"]["connected"], 15, "a connection")
    passed = []
    with second.connect() as client:
        wait_for(lambda: passed.append(client.ask().status == 200) or sum(passed) == 80, 15,
                 "most of the burst, when it is told of it")


def test_a_clock_that_is_set_back_uses_up_nothing(node, redis, scripted):  # noqa: F811
    """That of the server, or of the one that follows it."""
    server, hour = redis(), 3600 * 10**6
    limit = [{"rate": "1/h", "burst": 100, "shared": True}]
    daemon = node("a", server, [scripted().address],
                  routes=[{"name": "api", "pool": "app", "rate_limit": limit}])
    wait_for(lambda: daemon.admin.get("/v1/status")["shared"]["connected"], 15, "a connection")
    assert daemon.ask().status == 200
    key = wait_for(lambda: server.cli("KEYS", "*:limit:*"), 15, "something is lent")
    now = int(server.cli("TIME").split()[0]) * 10**6
    wait_for(lambda: int(server.cli("GET", key).split()[0]) < now + 3 * hour, 15, "given back")
    later = now + 150 * hour
    server.cli("SET", key, f"{later} 1.000 {later}")
    passed = []
    with daemon.connect() as client:
        wait_for(lambda: passed.append(client.ask().status == 200) or sum(passed) == 80, 15,
                 "most of the burst")


@pytest.mark.parametrize("expected", [1, 4])
def test_who_starts_without_redis_keeps_its_part(weir, scripted, expected):
    """1/n of the burst and the rate, with n of shared.nodes, until the server has answered."""
    limit = [{"rate": "2/s", "burst": 80, "shared": True}]
    daemon = weir([scripted().address], routes=[{"pool": "app", "rate_limit": limit}],
                  shared={"redis": {"address": refused_address()}, "node": "a", "nodes": expected})
    begun = time.monotonic()
    with daemon.connect() as client:
        statuses = [client.ask().status for _ in range(160)]
    passed, seconds = statuses.count(200), time.monotonic() - begun
    assert set(statuses) == {200, 429}
    assert 80 / expected - 1 <= passed <= (80 + 2 * seconds) / expected + 1, (passed, seconds)


def test_it_needs_redis(weir, scripted):
    daemon = weir([scripted().address])
    limit = [{"rate": "1/s", "shared": True}]
    conf = {**daemon.conf, "routes": [{"pool": "app", "rate_limit": limit}]}
    assert "needs 'shared: {redis" in str(daemon.reload(conf, status=422))
