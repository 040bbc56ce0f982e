# SPDX-License-Identifier: MIT
"""Pools: who gets what, limits and the queue, kept connections."""
import json
import threading
import time
from collections import Counter

import pytest

from wire import TIMEOUT, request, wait_for


def spread(client, n, target="/"):
    return Counter(client.ask(target=target).get("X-App") for _ in range(n))


class Parallel:
    """Requests in threads; results in the order of starting."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.threads = []
        self.results = []
        self.times = []

    def start(self, target="/", method="GET", body=b""):
        i = len(self.results)
        self.results.append(None)
        self.times.append(None)

        def run():
            begin = time.monotonic()
            try:
                self.results[i] = self.daemon.ask(method, target, body=body)
            except Exception as error:
                self.results[i] = error
            self.times[i] = time.monotonic() - begin
        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)
        return self

    def join(self):
        for thread in self.threads:
            thread.join(TIMEOUT * 2)
        return [getattr(r, "status", r) for r in self.results]


# ---- strategies ----

def test_round_robin_is_exact(weir, app):
    backends = app(3)
    daemon = weir(backends.addresses, pool={"balance": "round-robin"})
    assert set(spread(daemon.connect(), 30).values()) == {10}


def test_round_robin_is_weighted_and_smooth(weir, app):
    backends = app(3)
    daemon = weir([{"address": a, "weight": w} for a, w in zip(backends.addresses, (5, 1, 1))],
                  pool={"balance": "round-robin"}, workers=1)
    client = daemon.connect()
    seen = [client.ask().get("X-App") for _ in range(70)]
    assert Counter(seen) == {"app-0": 50, "app-1": 10, "app-2": 10}
    for i in range(0, 70, 7):
        assert Counter(seen[i:i + 7]) == {"app-0": 5, "app-1": 1, "app-2": 1}


@pytest.mark.parametrize("balance", ["random", "p2c", "least-request", "auto", "leastconn",
                                     "least-connections", "round-robin"])
def test_every_strategy_uses_every_backend(weir, app, balance):
    backends = app(4)
    daemon = weir(backends.addresses, pool={"balance": balance})
    seen = spread(daemon.connect(), 200)
    assert len(seen) == 4 and min(seen.values()) >= 20, seen


def test_random_obeys_weights(weir, app):
    backends = app(2)
    daemon = weir([{"address": a, "weight": w} for a, w in zip(backends.addresses, (3, 1))],
                  pool={"balance": "random"})
    seen = spread(daemon.connect(), 1000)
    assert 670 < seen["app-0"] < 830, seen


def test_weight_zero_gets_nothing(weir, app):
    backends = app(2)
    daemon = weir([backends.addresses[0], {"address": backends.addresses[1], "weight": 0}])
    assert spread(daemon.connect(), 50) == {"app-0": 50}


@pytest.mark.parametrize("balance", ["least-request", "auto"])
def test_least_request_avoids_the_busy_one_over_all_workers(weir, app, balance):
    """Exact over workers: 6 at once on 3 backends are 2 each, whichever worker has them."""
    backends = app(3, "hang=1")
    daemon = weir(backends.addresses, pool={"balance": balance}, workers=2)
    parallel = Parallel(daemon)
    for i in range(6):
        parallel.start()
        wait_for(lambda i=i: backends.total("in_progress") == i + 1)
    backends.go()
    assert parallel.join() == [200] * 6
    assert [s["max_in_progress"] for s in backends.all_stats()] == [2, 2, 2]


def test_a_slow_backend_gets_less(weir, app):
    backends = app(2, "service=2ms", ["1:service=60ms"])
    daemon = weir(backends.addresses)
    threads = [threading.Thread(target=lambda: spread(daemon.connect(), 30)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backends.stats(1)["requests"] < backends.stats(0)["requests"] / 3


def test_priorities(weir, app):
    backends = app(3)
    daemon = weir([{"address": a, "name": n, "priority": p}
                   for a, n, p in zip(backends.addresses, "abc", (0, 1, 2))])
    client = daemon.connect()
    assert spread(client, 20) == {"app-0": 20}
    daemon.admin.post("/v1/pools/app/backends/a", {"state": "maintenance"})
    assert spread(client, 20) == {"app-1": 20}
    daemon.admin.post("/v1/pools/app/backends/b", {"state": "drain"})
    assert spread(client, 20) == {"app-2": 20}
    daemon.admin.post("/v1/pools/app/backends/a", {"state": "up"})
    assert spread(client, 20) == {"app-0": 20}


def test_nobody_left_is_503(weir, app):
    daemon = weir([{"address": app().addresses[0], "name": "a"}],
                  pool={"queue": {"timeout": "60s"}})
    daemon.admin.post("/v1/pools/app/backends/a", {"state": "maintenance"})
    assert daemon.ask().status == 503, "nobody will come: no reason to wait"


# ---- limits and the queue ----

def test_max_requests_is_never_exceeded(weir, app):
    backends = app(2, "service=20ms")
    daemon = weir([{"address": a, "max_requests": 2} for a in backends.addresses],
                  pool={"queue": {"timeout": "10s"}})
    parallel = Parallel(daemon)
    for _ in range(30):
        parallel.start()
    assert parallel.join() == [200] * 30
    assert [s["max_in_progress"] for s in backends.all_stats()] == [2, 2]


def test_pool_wide_request_limit(weir, app):
    backends = app(1, "service=20ms")
    daemon = weir(backends.addresses, pool={"limits": {"requests": 3}, "queue": {"timeout": "10s"}})
    parallel = Parallel(daemon)
    for _ in range(20):
        parallel.start()
    assert parallel.join() == [200] * 20
    assert backends.stats()["max_in_progress"] == 3


def test_connection_limit(weir, app):
    backends = app(1, "service=20ms")
    daemon = weir(backends.addresses, pool={"limits": {"connections": 2},
                                            "queue": {"timeout": "10s"}})
    parallel = Parallel(daemon)
    for _ in range(20):
        parallel.start()
    statuses = parallel.join()
    assert backends.stats()["max_in_progress"] <= 2
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 2


@pytest.fixture
def narrow(weir, scripted):
    """One backend that takes one request at a time, and holds the first until .let_go is set."""
    let_go = threading.Event()

    def handler(peer):
        while msg := peer.request():
            assert let_go.wait(TIMEOUT)
            peer.respond(json.dumps({"body_length": msg.size}).encode())

    def start(**queue):
        backend = scripted(handler)
        daemon = weir([{"address": backend.address, "max_requests": 1}],
                      pool={"queue": queue or "off", "retry": "off"})
        daemon.app, daemon.let_go = backend, let_go
        return daemon
    yield start
    let_go.set()


def holding(daemon):
    """A request is under way, and stays there."""
    parallel = Parallel(daemon).start()
    wait_for(lambda: daemon.app.n_requests == 1)
    return parallel


def queued(daemon):
    return daemon.sum("queued")


def pool_queued(daemon):
    """Waiting in the pool's queue, which no backend has yet."""
    pool = daemon.admin.get("/v1/pools/app")
    return pool.get("queued", queued(daemon))


def test_the_queue_is_first_in_first_out(narrow, scripted, weir):
    order = []

    def handler(peer):
        while msg := peer.request():
            order.append(msg.target)
            time.sleep(0.03)
            peer.respond()
    backend = scripted(handler)
    daemon = weir([{"address": backend.address, "max_requests": 1}],
                  pool={"queue": {"timeout": "10s"}}, workers=1)
    parallel = Parallel(daemon)
    for i in range(10):
        parallel.start(f"/{i}")
        wait_for(lambda i=i: len(order) + pool_queued(daemon) >= i + 1)
    assert parallel.join() == [200] * 10
    assert order == [f"/{i}" for i in range(10)]


def test_queue_length(narrow):
    daemon = narrow(length=2, timeout="60s")
    parallel = holding(daemon).start().start()
    wait_for(lambda: pool_queued(daemon) == 2)
    assert daemon.ask().status == 503, "at once: the others are still there"
    daemon.let_go.set()
    assert parallel.join() == [200] * 3


def test_queue_timeout(narrow):
    daemon = narrow(timeout="200ms")
    parallel = holding(daemon)
    begin = time.monotonic()
    assert daemon.ask().status == 503
    assert time.monotonic() - begin > 0.15
    daemon.let_go.set()
    assert parallel.join() == [200]
    assert daemon.app.n_requests == 1


def test_queue_off(narrow):
    daemon = narrow()
    parallel = holding(daemon)
    assert daemon.ask().status == 503, "while the other is still there"
    daemon.let_go.set()
    assert parallel.join() == [200]


def test_a_client_that_leaves_the_queue_is_forgotten(narrow):
    daemon = narrow(timeout="60s")
    parallel = holding(daemon)
    leaver = daemon.connect()
    leaver.send(request(target="/leaver"))
    wait_for(lambda: pool_queued(daemon) == 1)
    parallel.start()
    wait_for(lambda: pool_queued(daemon) == 2)
    leaver.reset()
    wait_for(lambda: pool_queued(daemon) == 1)
    daemon.let_go.set()
    assert parallel.join() == [200, 200]
    assert daemon.app.n_requests == 2


def test_queued_uploads_are_served(narrow):
    daemon = narrow(timeout="60s")
    parallel = Parallel(daemon)
    for size in (10, 50000, 300000, 1000000):
        parallel.start("/echo", "POST", b"x" * size)
    wait_for(lambda: pool_queued(daemon) == 3)
    daemon.let_go.set()
    assert parallel.join() == [200] * 4
    assert [r.json()["body_length"] for r in parallel.results] == [10, 50000, 300000, 1000000]


# ---- kept upstream connections ----

def test_upstream_connections_are_reused(weir, app):
    backend = app()
    daemon = weir(backend.addresses, workers=1)
    for _ in range(20):
        assert daemon.ask().status == 200
    assert backend.stats()["connections"] == 1


def test_idle_upstream_connections_are_bounded(weir, app):
    backend = app(1, "service=100ms")
    daemon = weir(backend.addresses, pool={"keepalive": {"max_idle": 3}})
    parallel = Parallel(daemon)
    for _ in range(12):
        parallel.start()
    assert parallel.join() == [200] * 12
    wait_for(lambda: backend.stats()["open"] <= 3)
    assert daemon.sum("idle_upconns") <= 3


def test_idle_upstream_connections_end(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"keepalive": {"idle": "200ms"}})
    assert daemon.ask().status == 200
    assert backend.stats()["open"] == 1
    wait_for(lambda: backend.stats()["open"] == 0, 3)
    assert daemon.sum("upconns") == 0


def test_requests_per_upstream_connection(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"keepalive": {"requests": 5}}, workers=1)
    client = daemon.connect()
    for _ in range(20):
        assert client.ask().status == 200
    assert backend.stats()["connections"] == 4


@pytest.mark.parametrize("after", ["0", "1ms", "3ms"])
def test_the_keepalive_race_is_invisible(weir, app, after):
    """The backend closes idle connections unannounced, at the worst moments."""
    backend = app(1, f"close_after={after}")
    daemon = weir(backend.addresses, pool={"retry": {"budget": "100%"}})
    client = daemon.connect()
    for i in range(300):
        assert client.ask().status == 200
        time.sleep((i % 5) / 1000)
    assert backend.stats()["responses"]["200"] == 300


def test_a_stale_connection_is_replaced_on_the_only_backend(weir, scripted):
    """Closed just when the next request comes: sent again on a fresh connection."""
    def handler(peer):
        if peer.request():
            peer.respond()
            peer.request_head()  # the second request gets no answer
    backend = scripted(handler)
    daemon = weir([backend.address], workers=1)
    client = daemon.connect()
    for _ in range(6):
        assert client.ask().status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_with_retry_off_nothing_is_sent_twice(weir, scripted, tmp_path, how):
    """Not even what stood on a kept connection that was closed: off means off."""
    def handler(peer):
        if peer.request():
            peer.respond()
            peer.request_head()
            getattr(peer, how)()
    backend = scripted(handler)
    daemon = weir([backend.address], workers=1, pool={"retry": "off"})
    client = daemon.connect()
    assert [client.ask().status for _ in range(6)] == [200, 502] * 3
    assert backend.connections == 3
    assert (daemon.sum("stale_reuses"), daemon.sum("replaced"), daemon.sum("retries")) == (3, 0, 0)


def test_with_retry_off_what_was_not_sent_goes_over_another_connection(weir, scripted):
    """A kept connection found closed in time: no repeat of anything, and counted as what it is."""
    closed = threading.Event()

    def handler(peer):
        if peer.request():
            peer.respond()
            peer.close()
            closed.set()
    backend = scripted(handler)
    daemon = weir([backend.address], workers=1, pool={"retry": "off"})
    assert daemon.ask().status == 200
    assert closed.wait(TIMEOUT) and daemon.ask().status == 200
    sums = {key: daemon.sum(key) for key in ("stale_reuses", "replaced", "retries", "connects")}
    assert sums["replaced"] == sums["stale_reuses"] and sums["retries"] == 0, sums
    assert sums["connects"] == 2, sums


def test_repeats_are_called_what_they_are(weir, scripted, app, tmp_path):
    """retries, replaced and hedges of the access log; and the counters."""
    def handler(peer):
        if peer.request():
            peer.respond()
            peer.request_head()
    log = tmp_path / "access.log"
    daemon = weir([scripted(handler).address], workers=1, log={"access": {"path": str(log)}})
    client = daemon.connect()
    assert [client.ask().status for _ in range(3)] == [200] * 3

    def rows():
        return [json.loads(line) for line in log.read_text().splitlines()]
    wait_for(lambda: len(rows()) == 3)
    assert [r.get("replaced", 0) for r in rows()] == [0, 1, 1]
    assert [r["retries"] for r in rows()] == [0, 0, 0] and daemon.sum("stale_reuses") == 2
    assert daemon.sum("replaced") == 2 and daemon.sum("retries") == 0
    assert [n for name, n in daemon.admin.metrics().items()
            if name.startswith("weir_backend_replaced_total{")] == [2]
