# SPDX-License-Identifier: MIT
"""Strategies: keys and their owners, slow and failing backends."""
import shutil
import threading
import time
from collections import Counter

import pytest

from backends import Process, can_connect, free_port
from wire import wait_for

HASHING = ("maglev", "ring-hash", "rendezvous")
KEYS = [f"user{i}" for i in range(60)]


def hashed(on, balance="maglev", **hash_keys):
    return {"balance": balance, "hash": {"on": on, **hash_keys}}


def owners(daemon, keys=KEYS):
    """{key: name of the app that answers it}, keys given as ?u=KEY"""
    client = daemon.connect()
    return {key: client.ask(target=f"/?x=1&u={key}").get("X-App") for key in keys}


# ---- keys ----

@pytest.mark.parametrize("balance", HASHING)
def test_two_processes_agree_on_every_key(weir, app, balance):
    addresses = app(5).addresses
    one = weir(addresses, pool=hashed("query:u", balance))
    two = weir(addresses[::-1], pool=hashed("query:u", balance), workers=1)
    first = owners(one)
    assert owners(two) == first
    assert owners(one) == first, "and stay with them"
    assert len(set(first.values())) == 5, "all are used"


@pytest.mark.parametrize("balance", HASHING)
def test_a_backend_that_goes_takes_only_its_own_keys(weir, app, balance):
    backends = app(4)
    daemon = weir([{"address": a, "name": f"b{i}"} for i, a in enumerate(backends.addresses)],
                  pool=hashed("query:u", balance))
    before = owners(daemon)
    daemon.admin.post("/v1/pools/app/backends/b2", {"state": "maintenance"})
    during = owners(daemon)
    assert {k: v for k, v in during.items() if before[k] != "app-2"} == \
        {k: v for k, v in before.items() if v != "app-2"}
    assert len({during[k] for k in KEYS if before[k] == "app-2"}) > 1, "its keys are spread"
    daemon.admin.post("/v1/pools/app/backends/b2", {"state": "up"})
    assert owners(daemon) == before


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 3, 2, 5)])
def test_ring_hash_agrees_with_nginx(weir, app, tmp_path, weights):
    addresses = app(4).addresses
    port = free_port()
    conf = tmp_path / "nginx-hash.conf"
    servers = "".join(f"server {a} weight={w};" for a, w in zip(addresses, weights))
    temp = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in
                   ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(f"""
        daemon off; pid {tmp_path}/nginx.pid; worker_processes 1; error_log {tmp_path}/error.log;
        events {{ worker_connections 64; }}
        http {{ access_log off; {temp}
            upstream app {{ hash $arg_u consistent; {servers} }}
            server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; }} }} }}""")
    nginx = Process([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf), "-e",
                     f"{tmp_path}/error.log"], tmp_path, "nginx-hash")
    try:
        nginx.wait_ready(lambda: can_connect(port))
        daemon = weir([{"address": a, "weight": w} for a, w in zip(addresses, weights)],
                      pool=hashed("query:u", "ring-hash"))
        keys = [f"user{i}" for i in range(500)]
        with daemon.connect(port) as client:
            theirs = {key: client.ask(target=f"/?u={key}").get("X-App") for key in keys}
        assert owners(daemon, keys) == theirs
        assert set(theirs.values()) == {f"app-{i}" for i in range(4)}
    finally:
        nginx.stop()


@pytest.mark.parametrize("on, ask", [
    ("path", lambda c, k: c.ask(target=f"/{k}?other=1")),
    ("uri", lambda c, k: c.ask(target=f"/x?{k}")),
    ("host", lambda c, k: c.ask(host=f"{k}.test")),
    ("header:X-User", lambda c, k: c.ask(headers=[("x-user", k)])),
    ("cookie:sid", lambda c, k: c.ask(headers=[("Cookie", f"a=b; sid={k}; c=d")])),
    ("query:u", lambda c, k: c.ask(target=f"/?uu=1&u={k}&v=2")),
    ("client-ip", lambda c, k: c.ask(headers=[("X-Forwarded-For", f"10.0.0.{k[4:]}")])),
])
def test_every_source_of_keys(weir, app, on, ask):
    daemon = weir(app(3).addresses, pool=hashed(on),
                  listener={"trusted_proxies": ["127.0.0.0/8"]})
    client = daemon.connect()
    first = [ask(client, key).get("X-App") for key in KEYS[:60]]
    assert [ask(client, key).get("X-App") for key in KEYS[:60]] == first
    assert len(set(first)) == 3


def test_host_is_compared_without_case_and_port(weir, app):
    daemon = weir(app(4).addresses, pool=hashed("host"))
    client = daemon.connect()
    for name in ("a.test", "b.test", "c.test", "d.test"):
        hosts = (name, name.upper(), f"{name}:8080")
        assert len({client.ask(host=host).get("X-App") for host in hosts}) == 1


@pytest.mark.parametrize("headers", [(), [("Cookie", "other=1")], [("Cookie", "sid=")]])
def test_without_a_key_the_fallback_decides(weir, app, headers):
    daemon = weir(app(3).addresses, pool=hashed("cookie:sid", fallback="round-robin"), workers=1)
    client = daemon.connect()
    counts = Counter(client.ask(headers=headers).get("X-App") for _ in range(30))
    assert set(counts.values()) == {10}


def test_keys_survive_a_reload(weir, app):
    daemon = weir(app(4).addresses, pool=hashed("query:u"))
    before = owners(daemon)
    daemon.reload({**daemon.conf, "log": {"level": "warn"}})
    assert owners(daemon) == before


def test_a_bound_shares_a_hot_key(weir, app):
    backends = app(4, "service=300ms")
    daemon = weir(backends.addresses, pool=hashed("path", bound=1.25))
    threads = [threading.Thread(target=daemon.ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = [stats["requests"] for stats in backends.all_stats()]
    assert sum(counts) == 12 and max(counts) <= 5, counts
    daemon.assert_idle()
    with daemon.connect() as client:  # one worker: it has let go when the next one comes
        counts = Counter(client.ask(target="/hot?service=0").get("X-App") for _ in range(10))
    assert len(counts) == 1, "one at a time it has one owner"


# ---- who is slow ----

class Load:
    """Requests from four connections until stopped."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.stopped = False
        self.failed = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def run(self):
        client = self.daemon.connect()
        while not self.stopped:
            status = client.ask().status
            with self.lock:
                self.failed += status != 200

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join()


def requests_of(daemon):
    return [row["requests"] for row in daemon.admin.get("/v1/pools/app")["backends"]]


def test_a_slow_backend_is_left_alone_until_it_recovers(weir, app):
    """The exchanges it gets are counted by the second, whatever the rate is."""
    backends = app(4, "service=1ms", ["3:service=50ms"])
    daemon = weir(backends.addresses)
    with Load(daemon) as load:
        wait_for(lambda: sum(requests_of(daemon)) > 500, 20, "traffic")
        begin, before = time.monotonic(), requests_of(daemon)
        wait_for(lambda: sum(requests_of(daemon)) > sum(before) + 1000, 30, "traffic")
        seconds, after = time.monotonic() - begin, requests_of(daemon)
        assert after[3] - before[3] <= 3 + 2 * seconds, (before, after)
        assert after[3] < min(after[:3]) / 4

        backends.set(3, service="1ms")
        before = requests_of(daemon)
        wait_for(lambda: requests_of(daemon)[3] > before[3] + 100, 20, "its share is back")
    assert load.failed == 0


def test_failing_fast_is_not_fast(weir, app):
    backends = app(4, "service=5ms", ["2:service=0,status=500"])
    daemon = weir(backends.addresses, pool={"retry": "off"})
    with Load(daemon) as load:
        wait_for(lambda: sum(requests_of(daemon)) > 1000, 30, "traffic")
    counts = requests_of(daemon)
    assert 0 < load.failed < sum(counts) / 10, counts


@pytest.mark.parametrize("balance", ("auto", "least-request", "p2c", "peak-ewma", "random"))
def test_equal_backends_share(weir, app, balance):
    backends = app(3, "service=1ms")
    daemon = weir(backends.addresses, pool={"balance": balance})
    with Load(daemon):
        wait_for(lambda: sum(requests_of(daemon)) > 600, 30, "traffic")
    counts = requests_of(daemon)
    assert min(counts) > sum(counts) / 9, counts


# ---- tiers ----

@pytest.mark.parametrize("overprovision, least, most", [("140%", 40, 150), ("0%", 0, 0)])
def test_backups_take_what_the_first_tier_cannot_carry(weir, app, overprovision, least, most):
    """One of two is gone: half, times 1.4, stays with the first tier."""
    daemon = weir([{"address": a, "name": n, "priority": p}
                   for a, n, p in zip(app(3).addresses, "abc", (0, 0, 1))],
                  pool={"balance": "round-robin", "overprovision": overprovision})
    client = daemon.connect()
    counts = Counter(client.ask().get("X-App") for _ in range(100))
    assert counts == {"app-0": 50, "app-1": 50}
    daemon.admin.post("/v1/pools/app/backends/a", {"state": "maintenance"})
    counts = Counter(client.ask().get("X-App") for _ in range(300))
    assert counts["app-0"] == 0 and least <= counts["app-2"] <= most, counts
    explained = daemon.admin.post("/v1/explain", {"method": "GET", "url": "http://x.test/"})
    assert [b["candidate"] for b in explained["backends"]] == [False, True, most > 0]


# ---- load reports ----

def reporting(name, *reports):
    """A backend that says how many requests it has in flight."""
    fields = "".join(f"Endpoint-Load-Metrics: {report}\r\n" for report in reports)
    answer = f"HTTP/1.1 200 OK\r\nX-App: {name}\r\n{fields}Content-Length: 2\r\n\r\nok".encode()

    def handle(peer):
        while peer.request():
            peer.send(answer)
    return handle


def test_prequal_believes_load_reports(weir, scripted):
    busy = scripted(reporting("busy", "cpu_utilization=0.5, named_metrics.rif=40"))
    free = [scripted(reporting(f"free{i}", 'JSON {"named_metrics": {"rif": 1}}'))
            for i in range(2)]
    daemon = weir([busy.address, *(each.address for each in free)], pool={"balance": "prequal"})
    client = daemon.connect()
    answers = [client.ask() for _ in range(300)]
    assert all(a.status == 200 and a.get("Endpoint-Load-Metrics") is None for a in answers)
    counts = Counter(a.get("X-App") for a in answers)
    assert counts["busy"] < 30, counts


@pytest.mark.parametrize("reports", [("rif=nan",), ("rif=40", "rif=50"), ("x" * 300,), ("",)])
def test_bad_reports_do_no_harm(weir, scripted, reports):
    """What is believed is tested with the parser; here, that nothing breaks or leaks."""
    daemon = weir([scripted(reporting("odd", *reports)).address], pool={"balance": "prequal"})
    client = daemon.connect()
    for _ in range(20):
        answer = client.ask()
        assert answer.status == 200 and answer.body == b"ok"
        assert answer.get("Endpoint-Load-Metrics") is None


def test_other_strategies_pass_reports_on(weir, scripted):
    daemon = weir([scripted(reporting("a", "rif=1")).address])
    assert daemon.ask().get("Endpoint-Load-Metrics") == "rif=1"


# ---- load probes ----

def loaded(name, rif, asked, broken=()):
    """A backend that says how much it has to do only when it is asked for it."""
    def handle(peer):
        while request := peer.request():
            if request.target != "/load?x=1":
                peer.respond(headers=[("X-App", name)])
                continue
            asked.append((name, peer))
            if broken:
                peer.respond(headers=[("Endpoint-Load-Metrics", "nothing")])
            else:
                peer.respond(headers=[("Endpoint-Load-Metrics", f"rif={rif}")], body=b"some body")
    return handle


def probing(**more):
    return {"balance": "prequal", "prequal": {"path": "/load?x=1", "interval": "20ms",
                                              "timeout": "1s", **more}}


def probes_of(daemon):
    return [row["load_probes"] for row in daemon.backends().values()]


def test_prequal_asks_for_loads(weir, scripted):
    asked = []
    servers = [scripted(loaded(f"s{i}", rif, asked)) for i, rif in enumerate((40, 1, 1))]
    daemon = weir([s.address for s in servers], pool=probing())
    daemon.fd_check = False  # a connection of the control thread each
    wait_for(lambda: all(row["answered"] >= 3 for row in probes_of(daemon)), 20)
    state = daemon.admin.get("/v1/pools/app")["strategy_state"][0]
    assert state["reported"] == [40, 1, 1], state
    client = daemon.connect()
    counts = Counter(client.ask().get("X-App") for _ in range(200))
    assert counts["s0"] < 20, counts
    connections = {peer for name, peer in asked if name == "s0"}
    assert len(connections) == 1, "it is kept"
    metrics = daemon.admin.metrics()
    assert sum(n for key, n in metrics.items() if "load_probes" in key and "answered" in key) >= 9
    daemon.reload(daemon.conf)
    before = [row["answered"] for row in probes_of(daemon)]
    wait_for(lambda: all(now["answered"] > was + 2 for now, was in
                         zip(probes_of(daemon), before)), 20, "it goes on after a reload")
    daemon.conf["pools"]["app"] = {"backends": daemon.conf["pools"]["app"]["backends"]}
    daemon.reload(daemon.conf)
    assert all("load_probes" not in row for row in daemon.backends().values())


def test_lost_probes_are_said_and_do_no_harm(weir, scripted, app):
    asked, broken = [], [True]
    silent = app(1, "hang=1")
    odd = scripted(loaded("odd", 3, asked, broken))
    daemon = weir([odd.address, silent.addresses[0], "127.0.0.1:1"],
                  pool={**probing(timeout="500ms"), "retry": {"attempts": 3},
                        "timeouts": {"response": "1s"}})
    daemon.fd_check = False
    wait_for(lambda: all(row["lost"] >= 6 and row["answered"] == 0
                         for row in probes_of(daemon)), 30)
    said = {e["backend"]: e["message"] for e in daemon.events() if "in vain" in e["message"]}
    assert len(said) == 3, said
    assert any("malformed" in text for text in said.values())
    assert any("no answer within prequal.timeout" in text for text in said.values())
    assert any("refused" in text for text in said.values())
    broken.clear()
    wait_for(lambda: any("says its load again" in e["message"] for e in daemon.events()), 30)
    assert daemon.ask().status in (200, 504)
