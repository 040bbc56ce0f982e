# SPDX-License-Identifier: MIT
"""Everything is changed all the time, at random, under load: nothing is lost or left."""
import copy
import random
import threading

import pytest

from wire import Closed, Truncated, request, wait_for

CHANGES = 60
CHECKS = {"path": "/", "interval": "50ms", "fast_interval": "20ms", "slow_interval": "50ms",
          "timeout": "100ms", "rise": 1, "fall": 2}
STICKY = ({"mode": "prefer"}, {"mode": "strict"}, {"mode": "wait", "wait": "100ms"},
          {"learn": "SID", "entries": 16})
VARIANTS = {
    "balance": ("auto", "least-request", "p2c", "round-robin", "random", "peak-ewma", "prequal",
                "maglev", "ring-hash", "rendezvous"),
    "hash": (None, {"on": "query:u", "bound": 1.25}, {"on": "query:u", "fallback": "prequal"}),
    "sticky": (None, *STICKY),
    "health": (None, CHECKS),
    "outlier": ("off", {"eject": "100ms", "interval": "100ms", "max_ejected": "100%"}),
    "slow_start": ("0", "1s"),
    "limits": ({}, {"requests": 2}, {"adaptive": "on"}, {"requests": 3, "connections": 4}),
    "queue": ("off", {"length": 1, "timeout": "50ms"},
              {"length": 50, "timeout": "200ms", "target": "5ms"}),
    "retry": ("off", {"on": ["connect", "reset", "timeout", "500", "503"], "attempts": 3,
                      "backoff": "1ms", "budget": "100%",
                      "hedge": {"after": "5ms", "budget": "100%"}, "attempt_timeout": "50ms"}),
    "keepalive": ({}, {"max_idle": 1}, {"requests": 3}),
}


def some_pool(rng):
    pool = {key: copy.deepcopy(rng.choice(values)) for key, values in VARIANTS.items()}
    pool["timeouts"] = {"response": "150ms", "deadline_header": "X-Deadline-Ms"}
    if pool["balance"] not in ("maglev", "ring-hash", "rendezvous"):
        pool["hash"] = None
    if pool["queue"] == "off" and (pool["sticky"] or {}).get("mode") == "wait":
        pool["sticky"] = None
    return {key: value for key, value in pool.items() if value is not None}


class Churn:
    """One thread that changes the daemon and its backends."""

    def __init__(self, daemon, apps, seed):
        self.daemon, self.apps = daemon, apps
        self.rng = random.Random(seed)
        self.refused = []

    def post(self, path, data, fine=(200,)):
        status = self.daemon.admin.call("POST", path, data).status
        if status not in fine:
            self.refused.append((path, data, status))

    def name(self):
        return self.rng.choice(list(self.daemon.backends()) or ["b0"])

    def weight(self):
        self.post(f"/v1/pools/app/backends/{self.name()}",
                  {"weight": self.rng.choice((0, 0, 1, 2, 65535))}, (200, 404))

    def state(self):
        self.post(f"/v1/pools/app/backends/{self.name()}",
                  {"state": self.rng.choice(("up", "up", "drain", "maintenance"))}, (200, 404))

    def add(self):
        i = self.rng.randrange(len(self.apps.addresses))
        self.post("/v1/pools/app/backends", {"address": self.apps.addresses[i], "name": f"b{i}",
                                             "weight": self.rng.randrange(3)}, (201, 409))

    def remove(self):
        self.daemon.admin.call("DELETE", f"/v1/pools/app/backends/{self.name()}")

    def reload(self):
        pool = {**some_pool(self.rng), "backends": self.daemon.conf["pools"]["app"]["backends"]}
        self.daemon.conf["pools"]["app"] = pool
        self.daemon.reload(self.daemon.conf)

    def sicken(self):
        i = self.rng.randrange(len(self.apps.addresses))
        self.apps.set(i, **self.rng.choice(({"status": 500}, {"status": 503}, {"hang": 1},
                                            {"reset": "before"}, {"service": "30ms"})))

    def heal(self):
        for i in range(len(self.apps.addresses)):
            self.apps.set(i, status=200, hang=0, reset="no", service="1ms")

    def run(self):
        moves = (self.weight, self.state, self.add, self.remove, self.reload, self.sicken,
                 self.heal)
        for _ in range(CHANGES):
            self.rng.choice(moves)()


def client_of(daemon, seed, stop, statuses, odd):
    rng, cookie = random.Random(seed), None
    while not stop.is_set():
        client = daemon.connect()
        try:
            for _ in range(rng.randrange(1, 30)):
                headers = [("Cookie", cookie)] if cookie and rng.random() < 0.8 else []
                if rng.random() < 0.1:
                    headers.append(("X-Deadline-Ms", str(rng.randrange(200))))
                method = rng.choice(("GET", "GET", "PUT", "POST"))
                body = b"x" * rng.choice((1, 20000)) if method != "GET" else b""
                client.send(request(method, f"/?u={rng.randrange(50)}", headers, body))
                if rng.random() < 0.05:
                    break  # leaves in the middle
                response = client.response(method)
                statuses.append(response.status)
                given = response.headers.all("Set-Cookie")
                cookie = given[0].split(";")[0] if given else cookie
                if response.headers.get("Connection") == "close":
                    break
        except (Closed, Truncated, ConnectionError) as error:
            odd.append(error)
        finally:
            client.close()


@pytest.mark.parametrize("seed", range(4))
def test_changes_at_random_under_load(weir, app, seed):
    """Every request has an answer, and at the end all counters are 0 (the fixture looks)."""
    apps = app(6, "service=1ms")
    named = [{"address": a, "name": f"b{i}", "priority": i // 4} for i, a in
             enumerate(apps.addresses)]
    daemon = weir(named)  # without checks, whose descriptors come and go
    churn = Churn(daemon, apps, seed)
    churn.reload()
    stop, statuses, odd = threading.Event(), [], []
    threads = [threading.Thread(target=client_of, args=(daemon, 100 * seed + i, stop, statuses,
                                                        odd)) for i in range(6)]
    for thread in threads:
        thread.start()
    try:
        churn.run()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not odd, odd[:3]
    assert set(statuses) <= {200, 500, 502, 503, 504} and 200 in statuses, set(statuses)
    assert not churn.refused, churn.refused[:3]
    churn.heal()
    daemon.conf["pools"]["app"] = {"backends": named}
    daemon.reload(daemon.conf)
    for name in daemon.backends():
        daemon.admin.post(f"/v1/pools/app/backends/{name}", {"state": "up", "weight": 1})
    if not daemon.backends():
        daemon.admin.post("/v1/pools/app/backends", {"address": apps.addresses[0], "name": "b0"},
                          201)
    wait_for(lambda: [daemon.ask().status for _ in range(20)] == [200] * 20)


# ---- nobody is left ----

@pytest.mark.parametrize("change", [{"weight": 0}, {"state": "drain"}, {"state": "maintenance"}])
@pytest.mark.parametrize("pool", [{}, {"limits": {"requests": 2}}, {"balance": "maglev"},
                                  {"balance": "prequal", "queue": "off"}])
def test_nobody_takes_requests(weir, app, pool, change):
    apps = app(3)
    daemon = weir([{"address": a, "name": f"b{i}"} for i, a in enumerate(apps.addresses)],
                  pool=pool, listener={"refusal_header": "X-Refused"})
    for i in range(3):
        daemon.admin.post(f"/v1/pools/app/backends/b{i}", change)
    for method in ("GET", "POST"):
        refused = daemon.ask(method, body=b"x" if method == "POST" else b"")
        assert (refused.status, refused.get("X-Refused")) == (503, "no_backend")
        assert refused.get("Retry-After")
    assert daemon.pools()[0]["no_backend"] == 2
    assert apps.total("requests") == 0
    daemon.admin.post("/v1/pools/app/backends/b1", {"state": "up", "weight": 3})
    assert [daemon.ask().get("X-App") for _ in range(5)] == ["app-1"] * 5
