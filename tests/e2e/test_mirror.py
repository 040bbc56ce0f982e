# SPDX-License-Identifier: MIT
"""routes[].mirror: copies of requests go to another pool, and no client knows."""
import json
import socket
import subprocess
import time

import pytest
import yaml

from backends import binary, refused_address
from daemon import make_conf
from h2peer import answering
from h2wire import GET, H2, post
from wire import chunked, request, wait_for

QUICK = "500ms"  # for copies that hang: the test waits until they are given up


def mirror(daemon, i=0):
    return daemon.admin.get("/v1/mirror")["mirrors"][i]


def counters(daemon):
    return mirror(daemon)["counters"]


def settled(daemon):
    """The counters, when nothing is under way; together they are all that were drawn."""
    wait_for(lambda: mirror(daemon)["in_flight"] == 0, what="copies have ended")
    got = counters(daemon)
    assert got["drawn"] == sum(n for name, n in got.items() if name != "drawn"), got
    return got


def until(daemon, name, ask, n=1):
    """Asks until so many are counted: a worker that was kept from running drops copies."""
    def counted():
        assert ask().status == 200
        return settled(daemon)[name] >= n
    wait_for(counted)
    return settled(daemon)


def went(got):
    """Copies that were answered, or that a machine with too much to do kept from it."""
    return got["answered"] + got["dropped_busy"]


@pytest.fixture
def start(weir, scripted):
    """weir before two scripted backends, the second in the pool that gets the copies."""
    def run(to=None, backend=None, pool=None, route=None, workers=1, next_pool=None, **keys):
        original = backend or scripted()
        copy = to or scripted()
        address = copy if isinstance(copy, str) else copy.address
        daemon = weir((), workers=workers, pools={
            "app": {"backends": [original.address], **(pool or {})},
            "next": {"backends": [address], **(next_pool or {})},
        }, routes=[{"name": "api", "pool": "app", **(route or {}),
                    "mirror": {"pool": "next", **keys}}])
        daemon.original, daemon.copy = original, copy
        return daemon
    return run


def by_target(status=(), body=()):
    """Answers with the target; for those in `status` and `body` otherwise."""
    def handler(peer):
        while (msg := peer.request()) is not None:
            text = b"other" if msg.target in body else b"same "
            peer.respond(text + msg.target.encode(), 500 if msg.target in status else 200)
    return handler


# ---- what goes out ----

def test_a_copy_is_what_the_backend_gets_and_is_marked(start):
    daemon = start(route={"rewrite": {"path_regex": "^/a/(.*)$", "path": "/$1"},
                          "request_headers": {"set": {"X-From": "{client} {pool}"}}})
    until(daemon, "answered", lambda: daemon.ask("GET", "/a/b?c=d", headers=[
        ("Cookie", "sid=1"), ("X-Request-ID", "r1")]))
    got, = daemon.copy.requests
    assert (got.method, got.target) == ("GET", "/b?c=d")
    assert got.get("X-Weir-Mirror") == "api" and got.get("X-From") == "127.0.0.1 next"
    assert got.get("Cookie") == "sid=1" and got.get("X-Request-ID") == "r1"
    original = daemon.original.requests[-1]
    assert original.get("X-Weir-Mirror") is None and original.get("X-From") == "127.0.0.1 app"
    assert original.target == "/b?c=d" and original.get("X-Request-ID") == "r1"


def test_methods_that_are_named_and_bodies_within_the_bound(start):
    daemon = start(methods=["POST"], body_bytes="1KiB")
    with daemon.connect() as client:
        client.ask("GET", "/get")
        client.ask("POST", "/small", body=b"x" * 1024)
        client.ask("POST", "/large", body=b"x" * 1025)
        client.send(request("POST", "/chunked", [("Transfer-Encoding", "chunked")]),
                    chunked([b"abc", b"x" * 1000]))
        assert client.response().status == 200
        client.send(request("POST", "/too", [("Transfer-Encoding", "chunked")]),
                    chunked([b"x" * 1000, b"x" * 25]))
        assert client.response().status == 200
    got = settled(daemon)
    assert (went(got), got["dropped_long"], got["drawn"]) == (2, 2, 4)
    bodies = {"/small": b"x" * 1024, "/chunked": b"abc" + b"x" * 1000}
    assert len(daemon.copy.requests) == got["answered"]
    assert all(bodies[m.target] == m.body for m in daemon.copy.requests)
    assert len(daemon.original.requests) == 5


def test_a_body_that_ends_with_trailers_is_copied_without_them(start):
    daemon = start(methods=["POST"])
    with daemon.connect() as client:
        def ask():
            client.send(request("POST", "/t", [("Transfer-Encoding", "chunked"),
                                               ("Trailer", "X-T")]),
                        chunked([b"abc"], trailers=[("X-T", "1")]))
            return client.response()
        until(daemon, "answered", ask)
    assert daemon.copy.requests[0].body == b"abc"


def test_http2_on_both_sides(start, scripted):
    seen = []

    def lengths(peer):
        while (msg := peer.request()) is not None:
            peer.respond(str(len(msg.body)).encode())
    daemon = start(backend=scripted(lengths), to=scripted(answering(seen)),
                   next_pool={"protocol": "h2"}, methods=["GET", "POST"],
                   compare=["status", "body"])
    with H2(daemon.port) as peer:
        numbers = iter(range(1, 10001, 2))
        until(daemon, "answered", lambda: peer.ask(next(numbers), GET))
        until(daemon, "answered", lambda: peer.ask(next(numbers), post(5), b"hello"), 2)
    assert {r.get("x-weir-mirror") for r in seen} == {"api"}
    assert bytes(seen[1].body) == b"hello"
    got = mirror(daemon)
    assert (got["status"]["compared"], got["status"]["differ"], got["body"]["differ"]) == (2, 0, 0)


def test_who_is_refused_is_not_copied(start):
    daemon = start(route={"rate_limit": [{"rate": "1/h", "burst": 2}]})
    with daemon.connect() as client:
        assert [client.ask().status for _ in range(4)] == [200, 200, 429, 429]
    assert settled(daemon)["drawn"] == 2


def test_a_copy_of_what_an_auth_service_lets_through(start, scripted):
    auth = scripted()
    daemon = start(methods=["POST"])
    daemon.conf["pools"]["auth"] = {"backends": [auth.address]}
    daemon.conf["routes"][0]["auth"] = {"forward": {"pool": "auth"}}
    daemon.reload(daemon.conf)
    until(daemon, "answered", lambda: daemon.ask("POST", "/x", body=b"x" * 5000))
    assert daemon.copy.requests[0].body == b"x" * 5000


# ---- how many ----

@pytest.mark.parametrize("workers", [1, 3])
def test_the_share_is_kept_by_count(start, workers):
    n = 700
    daemon = start(share="30%", workers=workers, in_flight=1000)
    with daemon.connect() as one, daemon.connect() as other:
        for i in range(n // 2):
            assert one.ask(target=f"/{i}").status == 200
            assert other.ask(target=f"/{i}").status == 200
    got = settled(daemon)
    assert abs(got["drawn"] - 0.3 * n) <= workers
    assert went(got) == got["drawn"] and got["answered"] == len(daemon.copy.requests)
    metrics = daemon.admin.metrics()
    assert metrics['weir_mirror_drawn_total{route="api",pool="next"}'] == got["drawn"]
    assert metrics['weir_mirror_answered_total{route="api",pool="next"}'] == got["answered"]
    assert metrics['weir_mirror_in_flight{route="api",pool="next"}'] == 0


def test_a_reload_changes_it_and_forgets_nothing(start, scripted):
    daemon = start()
    drawn = until(daemon, "answered", daemon.ask)["drawn"]
    daemon.conf["routes"][0]["mirror"]["share"] = "0%"
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert settled(daemon)["drawn"] == drawn
    daemon.conf["routes"][0]["mirror"]["share"] = "100%"
    daemon.reload(daemon.conf)
    until(daemon, "answered", daemon.ask, 2)
    del daemon.conf["routes"][0]["mirror"]
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert daemon.admin.get("/v1/mirror") == {"mirrors": []}
    assert len(daemon.copy.requests) == 2


# ---- clients do not know ----

def hang(peer):
    peer.request()
    peer.until_end()


def reset(peer):
    peer.request()
    peer.reset()


def endless(peer):
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        peer.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")


def trickle(peer):
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        peer.send(b"x")
        time.sleep(0.05)


def garbage(peer):
    peer.request()
    peer.send(b"\x00\xff\r\n\r\n" * 100)
    peer.until_end()


def upgrade(peer):
    peer.request()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    peer.until_end()


@pytest.mark.parametrize("handler,result", [
    (hang, "late"), (reset, "failed"), (endless, "cut"), (trickle, "late"), (garbage, "failed"),
    (upgrade, "failed"), (None, "failed"),
], ids=["hang", "reset", "endless", "trickle", "garbage", "upgrade", "down"])
def test_whatever_the_other_pool_does(start, scripted, handler, result):
    to = scripted(handler) if handler else refused_address()
    daemon = start(to=to, timeout=QUICK, compare=["status", "body", "latency"])
    before = daemon.admin.metrics()
    asked = []

    def ask():
        answer = client.ask(target=f"/{len(asked)}")
        asked.append(answer)
        assert (answer.status, answer.body) == (200, b"ok\n")
        return answer
    with daemon.connect() as client:
        got = until(daemon, result, ask, 2)
    assert got["answered"] == 0
    # one that was refused three times in a row is left alone for a moment
    assert got[result] + got["dropped_down"] + got["dropped_busy"] == len(asked), got
    now = daemon.admin.metrics()
    for name, value in now.items():
        if name.startswith("weir_exchanges_total") and "outcome=\"ok\"" not in name:
            assert value == before[name], name
    assert now["weir_errors_total"] == before["weir_errors_total"]
    assert now["weir_requests_total"] - before["weir_requests_total"] == len(asked)
    state, = daemon.backends("next").values()
    assert state["state"] == "up" and state["errors"] == 0
    assert mirror(daemon)["status"]["compared"] <= got["cut"]


def test_what_has_no_place_is_dropped(start, scripted):
    daemon = start(to=scripted(hang), timeout=QUICK, next_pool={"limits": {"requests": 1}})
    wait_for(lambda: daemon.ask().status == 200 and counters(daemon)["dropped_full"])
    got = settled(daemon)
    assert got["late"] and got["late"] == len(daemon.copy.requests)


def test_at_most_so_many_are_in_flight(start, scripted):
    daemon = start(to=scripted(hang), timeout=QUICK, in_flight=2)
    seen = []

    def refused():
        assert daemon.ask().status == 200
        seen.append(mirror(daemon)["in_flight"])
        return counters(daemon)["dropped_in_flight"]
    wait_for(refused)
    assert max(seen) == 2
    assert settled(daemon)["late"] >= 2


def test_under_load_copies_go_first(start, scripted):
    """The pool is full, requests wait: those are not copied."""
    gate = socket.socketpair()

    def slow(peer):
        while peer.request() is not None:
            gate[1].recv(1)
            peer.respond()
    daemon = start(backend=scripted(slow), pool={"limits": {"requests": 1}})
    clients = [daemon.connect() for _ in range(4)]
    for client in clients:
        client.send(request("GET", "/"))
    wait_for(lambda: daemon.sum("queued") == 3, what="three wait")
    gate[0].send(b"1234")
    assert [client.response().status for client in clients] == [200] * 4
    got = settled(daemon)
    assert got["drawn"] == 4 and got["dropped_busy"] >= 3
    for end in gate:
        end.close()


def test_copies_do_not_eject_and_do_not_count_as_answers_to_clients(start, scripted):
    """All answers to copies are 500; the pool has clients of its own who get 200."""
    def handler(peer):
        while (msg := peer.request()) is not None:
            peer.respond(status=500 if msg.get("X-Weir-Mirror") else 200)
    daemon = start(to=scripted(handler))
    daemon.conf["routes"].insert(0, {"name": "own", "match": {"path": "/own"}, "pool": "next"})
    daemon.reload(daemon.conf)
    with daemon.connect() as client:
        until(daemon, "answered", client.ask, 30)
        assert client.ask(target="/own").status == 200
    state, = daemon.backends("next").values()
    assert state["state"] == "up" and state["errors"] == 0
    assert state["responses_5xx"] >= 30


def test_it_ends_while_copies_are_under_way(start, scripted):
    daemon = start(to=scripted(hang), timeout="60s")
    wait_for(lambda: daemon.ask().status == 200 and daemon.copy.requests)
    daemon.checked = True
    daemon.kill(15)
    assert daemon.wait() == 0, daemon.stderr


# ---- answers are compared ----

def test_differences_are_found_and_the_requests_named(start, scripted):
    n = 40
    status = {f"/{i}" for i in range(0, n, 10)}
    body = {f"/{i}" for i in range(5, n, 10)}
    daemon = start(backend=scripted(by_target()), to=scripted(by_target(status, body)),
                   compare=["status", "body"], in_flight=1000)
    with daemon.connect() as client:
        for i in range(n):
            answer = client.ask(target=f"/{i}", headers=[("X-Request-ID", f"id-{i}")])
            assert answer.body == f"same /{i}".encode()
    wait_for(lambda: mirror(daemon)["status"]["compared"] + counters(daemon)["dropped_busy"] == n)
    got = mirror(daemon)
    named = {e["request_id"]: e for e in got["examples"]}
    expected = {f"id-{t[1:]}" for t in status | body}
    assert set(named) <= expected
    if settled(daemon)["answered"] == n:
        assert (got["status"]["differ"], got["body"]["differ"]) == (4, 4)
        assert got["body"]["compared"] == n - 4
        assert set(named) == expected
        assert 0 < got["status"]["low"] < got["status"]["share"] == 0.1 < got["status"]["high"] < 1
    for request_id, example in named.items():
        target = "/" + request_id[3:]
        assert example["target"] == target
        if target in status:
            assert example["differs"] == ["status"] and example["status"] == [200, 500]
        else:
            assert example["differs"] == ["body"] and example["status"] == [200, 200]
    out = daemon.ctl("mirror", check=0).stdout
    assert "differs in" in out and "id-" in out and "200/500" in out, out
    found = [f["finding"] for f in json.loads(daemon.ctl("doctor", "--json").stdout)["findings"]]
    assert any("mirror of route api: next answers with another status" in f for f in found), found


def test_a_mark_begins_anew(start, scripted):
    daemon = start(backend=scripted(by_target()), to=scripted(by_target(body={"/"})),
                   compare=["body"])

    def differs():
        daemon.ask()
        settled(daemon)
        return mirror(daemon)["body"]["differ"] > 0
    wait_for(differs)
    daemon.ctl("mark", "fixed", "app", check=0)
    got = mirror(daemon)
    assert (got["body"]["compared"], got["body"]["differ"], got["examples"]) == (0, 0, [])
    wait_for(differs)
    daemon.ctl("mark", "elsewhere", check=0)
    assert mirror(daemon)["body"]["compared"] == 0


def test_latency_is_compared_at_equal_level_and_not_before_there_is_enough(weir, app):
    """The copy takes three times as long, by the apps' own clock."""
    fast, slow = app(defaults="service=4ms"), app(defaults="service=12ms")
    daemon = weir((), workers=1, pools={"app": {"backends": fast.addresses},
                                        "next": {"backends": slow.addresses}},
                  routes=[{"name": "api", "pool": "app",
                           "mirror": {"pool": "next", "compare": ["latency"]}}])
    latency = mirror(daemon)["latency"]
    assert latency["verdict"] == "not_enough_data" and latency["ratio"] is None
    assert "not said yet" in daemon.ctl("mirror", check=0).stdout
    with daemon.connect() as client:
        def told():
            """On a busy machine 150 may leave it unclear: then more are asked."""
            assert client.ask().status == 200
            settled(daemon)
            latency = mirror(daemon)["latency"]
            assert latency["verdict"] == "not_enough_data" or \
                latency["equal"] >= latency["needed"] == 150
            return latency["verdict"] == "slower"
        wait_for(told, timeout=120)
    latency = mirror(daemon)["latency"]
    ratio = latency["ratio"]
    assert 1.05 < ratio["low"] <= ratio["value"] <= ratio["high"]
    for side in ("original", "copy"):
        for q in ("p50_us", "p95_us"):
            assert latency[side][q]["low"] <= latency[side][q]["value"] <= latency[side][q]["high"]
    assert latency["original"]["p50_us"]["value"] >= 4000 * 0.98
    assert latency["copy"]["p50_us"]["value"] >= 12000 * 0.98
    assert "is slower" in daemon.ctl("mirror", check=0).stdout


def test_weirctl_without_any(weir, app):
    daemon = weir(app().addresses)
    assert daemon.ctl("mirror", check=0).stdout == "no route has a mirror\n"
    assert "weir_mirror" not in str(daemon.admin.metrics())


@pytest.mark.parametrize("keys,said", [
    ({}, "'pool' is missing"),
    ({"pool": "nxt"}, "pool 'nxt' is not defined"),
    ({"pool": "next", "share": "101%"}, "share"),
    ({"pool": "next", "share": 10}, "no percentage"),
    ({"pool": "next", "compare": []}, "'compare' is empty"),
    ({"pool": "next", "compare": ["headers"]}, "'headers' is not one of status, body, latency"),
    ({"pool": "next", "in_flight": 0}, "in_flight"),
    ({"pool": "next", "body_bytes": "65KiB"}, "body_bytes"),
    ({"pool": "next", "timeout": "0s"}, "timeout"),
    ({"pool": "next", "retries": 1}, "unknown key 'retries'"),
])
def test_what_makes_no_sense_is_said(tmp_path, keys, said):
    conf = make_conf(tmp_path, ["127.0.0.1:9"], routes=[{"pool": "app", "mirror": keys}])
    conf["pools"]["next"] = {"backends": ["127.0.0.1:8"]}
    assert said in mistake(tmp_path, conf)


def test_a_route_without_a_pool_has_nothing_to_copy(tmp_path):
    conf = make_conf(tmp_path, ["127.0.0.1:9"], routes=[
        {"respond": {"status": 204}, "mirror": {"pool": "app"}}])
    assert "'mirror' does nothing for a route without a pool" in mistake(tmp_path, conf)


def mistake(folder, conf):
    (folder / "weir.yaml").write_text(yaml.safe_dump(conf, sort_keys=False))
    done = subprocess.run([binary("weir"), "-t", "-c", folder / "weir.yaml"],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "weir.yaml:" in done.stderr, done.stderr
    return done.stderr
