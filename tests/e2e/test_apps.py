# SPDX-License-Identifier: MIT
"""The sample app server itself: the other tests and the experiments believe it."""
import hashlib
import json
import subprocess
import threading
import time

import pytest

from backends import RedisApp, binary, pattern, pattern_sha256
from wire import Client, Closed, Truncated, WireError, at_best, chunked, request, wait_for


def ask(app, target="/", method="GET", headers=(), body=b"", i=0):
    with Client(app.ports[i]) as client:
        return client.ask(method, target, headers, body)


def together(app, n, target="/", i=0):
    """n requests at once; seconds until each was answered, sorted."""
    times = []
    begin = time.monotonic()

    def run():
        ask(app, target, i=i)
        times.append(time.monotonic() - begin)
    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def took_turns(ask_all, least):
    """Nobody before its turn, ever; and at least once not so late as three turns more would be."""
    def late():
        times = ask_all()
        assert all(took >= earliest - 0.001 for took, earliest in zip(times, least)), times
        return max(took - earliest for took, earliest in zip(times, least))
    at_best(late, 0.1)


def took_at_least(least, action):
    """How long it took: never less than `least`."""
    begin = time.monotonic()
    action()
    took = time.monotonic() - begin
    assert took >= least
    return took


def test_instances_have_names_and_ports(app):
    apps = app(3, name="shop")
    assert len(set(apps.ports)) == 3
    assert [ask(apps, i=i).body for i in range(3)] == [b"shop-0\n", b"shop-1\n", b"shop-2\n"]


def test_fixed_service_time(app):
    apps = app(2, "service=50ms", ["1:service=100ms"])
    for i, least in ((0, 0.05), (1, 0.1)):
        at_best(lambda: took_at_least(least, lambda: ask(apps, i=i)), least + 0.04)


def test_service_times_are_fine_grained(app):
    apps = app(1, "service=300us")
    with Client(apps.ports[0]) as client:
        at_best(lambda: took_at_least(0.0003, client.ask), 0.0006)


@pytest.mark.parametrize("dist", ["exp", "pareto"])
def test_random_service_times_are_seeded(app, dist):
    def times(seed):
        apps = app(1, f"service=2ms,dist={dist}", options=("--seed", str(seed)))
        took = []
        with Client(apps.ports[0]) as client:
            for _ in range(60):
                begin = time.monotonic()
                client.ask()
                took.append(time.monotonic() - begin)
        return took
    first, again, other = times(1), times(1), times(2)

    def far_apart(a, b):
        return sum(abs(x - y) > 0.001 for x, y in zip(a, b))

    def once_more():  # of several turns the least: what a busy machine adds is not seeded
        nonlocal first, again
        apart = far_apart(first, again)
        first, again = ([min(pair) for pair in zip(each, times(1))] for each in (first, again))
        return apart
    at_best(once_more, 9)
    assert far_apart(first, other) > 10
    assert max(first) > 3 * sorted(first)[30], "they spread"


def test_workers_and_their_queue(app):
    apps = app(1, "service=50ms,workers=2")
    took_turns(lambda: together(apps, 6), [0.05, 0.05, 0.1, 0.1, 0.15, 0.15])
    stats = apps.stats()
    assert (stats["max_queued"], stats["max_in_progress"], stats["queued"]) == (4, 6, 0)


def test_the_queue_is_first_in_first_out(app):
    apps = app(1, "service=40ms,workers=1")
    clients, order, threads = [], [], []
    for i in range(6):
        clients.append(Client(apps.ports[0]))
        clients[-1].send(request())
        wait_for(lambda i=i: apps.stats()["requests"] == i + 1)

    def read(i):
        clients[i].response()
        order.append(i)
    for i in range(6):
        threads.append(threading.Thread(target=read, args=(i,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert order == list(range(6))
    for client in clients:
        client.close()


def test_the_shared_bottleneck(app):
    apps = app(3, options=("--shared", "workers=1,service=30ms"))

    def all_of_them():
        times = []
        begin = time.monotonic()

        def run(i):
            ask(apps, i=i)
            times.append(time.monotonic() - begin)
        threads = [threading.Thread(target=run, args=(i % 3,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(times)
    took_turns(all_of_them, [0.03 * (i + 1) for i in range(6)])


def test_a_client_that_leaves_frees_its_worker(app):
    apps = app(1, "service=10s,workers=1")
    leaver = Client(apps.ports[0])
    leaver.send(request())
    wait_for(lambda: apps.stats()["busy"] == 1)
    leaver.close()
    wait_for(lambda: apps.stats()["busy"] == 0)
    assert apps.stats()["aborted"] == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [0, 1, 16384, 1048573, 3000000])
def test_bodies(app, framing, size):
    response = ask(app(), f"/bytes/{size}?framing={framing}")
    assert response.framing == (size if framing == "length" else framing)
    assert response.sha256 == pattern_sha256(size)


def test_trailers_and_hints(app):
    response = ask(app(), "/bytes/10?framing=chunked&trailers=1&hints=2")
    assert response.trailers.get("X-App-Bytes") == "10"
    assert [info.status for info in response.infos] == [103, 103]


def test_echo(app):
    body = pattern(70000)
    with Client(app().ports[0]) as client:
        for data in (request("PUT", "/echo?x", [("X-A", "1")], body),
                     request("PUT", "/echo?x", [("X-A", "1"), ("Transfer-Encoding", "chunked")]) +
                     chunked([body[:1], body[1:]], [("X-T", "2")])):
            client.send(data)
            echo = client.response().json()
            assert (echo["method"], echo["target"]) == ("PUT", "/echo?x")
            assert echo["headers"][1] == ["X-A", "1"]
            assert echo["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert echo["trailers"] == "X-T: 2\n"


def test_options_by_header_and_query(app):
    apps = app()
    assert ask(apps, "/?status=418").status == 418
    assert ask(apps, headers=[("X-App-Status", "419")]).status == 419
    assert ask(apps, "/?status=banana").status == 400
    assert ask(apps, headers=[("X-App-Banana", "1")]).status == 400
    assert ask(apps, "/?other=1").status == 200
    assert ask(apps, "/?header=X-Foo:%20bar").get("X-Foo") == "bar"
    assert ask(apps, "/?raw=HTTP/1.1%20299%20Mine%0d%0a%0d%0aall%20of%20it").body == b"all of it"


def test_options_at_run_time(app):
    apps = app()
    apps.set(status=503)
    assert ask(apps).status == 503
    apps.set(status=200, service="50ms")
    begin = time.monotonic()
    assert ask(apps).status == 200
    assert time.monotonic() - begin >= 0.05


def test_delays_and_rates(app):
    apps = app()
    for target, least in (("/?head_delay=100ms", 0.1), ("/bytes/1000?body_delay=100ms", 0.1),
                          ("/bytes/10000?rate=40000", 0.15)):
        def asked():
            assert ask(apps, target).status == 200
        at_best(lambda: took_at_least(least, asked), least + 0.2)


@pytest.mark.parametrize("fault,error", [
    ("reset=before", ConnectionResetError), ("reset=head", ConnectionResetError),
    ("reset=body", ConnectionResetError), ("cut=before", Closed), ("cut=head", Truncated),
    ("cut=body", Truncated), ("wrong=short", Truncated), ("garbage=1", WireError)])
def test_faults(app, fault, error):
    apps = app()
    with Client(apps.ports[0]) as client:
        with pytest.raises(error):
            client.ask(target=f"/bytes/1000?{fault}")
    assert (apps.stats()["in_progress"], apps.stats()["aborted"]) == (0, 0)


def test_too_long(app):
    with Client(app().ports[0]) as client:
        assert client.ask(target="/bytes/10?wrong=long").size == 10
        rest = bytearray()
        client.exactly(len(b"more bytes than announced"), rest.extend)
        assert bytes(rest) == b"more bytes than announced"


def test_closing_unannounced(app):
    apps = app()
    with Client(apps.ports[0]) as client:
        assert "Connection" not in client.ask(target="/?close_after=0").headers
        client.assert_closed()
    with Client(apps.ports[0]) as client:
        def closed():
            client.ask(target="/?close_after=100ms")
            client.assert_closed()
        took_at_least(0.09, closed)


def test_expect_and_early_answers(app):
    with Client(app().ports[0]) as client:
        client.send(request("POST", "/echo", [("Expect", "100-continue"), ("Content-Length", 5)]))
        assert client.info().status == 100
        client.send("hello")
        assert client.response().json()["body_length"] == 5
        client.send(request("POST", "/?early=drain&status=413", [("Content-Length", 5)]))
        assert client.response().status == 413
        client.send("hello", request())
        assert client.response().status == 200
        client.send(request("POST", "/?early=close&status=413", [("Content-Length", 5)]))
        assert client.response().status == 413
        client.assert_closed()


def test_slow_reading(app):
    apps = app()
    with Client(apps.ports[0]) as client:
        begin = time.monotonic()
        client.send(request("POST", "/echo?read_rate=20000", [("Content-Length", 6000)]))
        wait_for(lambda: apps.stats()["in_progress"] == 1)
        client.send(b"x" * 6000)
        assert client.response().json()["body_length"] == 6000
        assert time.monotonic() - begin > 0.2


def test_http10(app):
    apps = app()
    assert ask(apps, "/?http10=1").version == "HTTP/1.0"
    with Client(apps.ports[0]) as client:
        assert client.ask(target="/bytes/9?framing=chunked", version="1.0").framing == "close"


def test_tunnel(app):
    apps = app()
    with Client(apps.ports[0]) as client:
        client.send(request("GET", "/?tunnel_bytes=100000",
                            [("Connection", "Upgrade"), ("Upgrade", "any")]), b"first")
        assert client.response().status == 101
        got = bytearray()
        client.exactly(100005, got.extend)
        assert bytes(got) == pattern(100000) + b"first"
        client.end_direction()
        client.assert_closed()
    assert apps.stats()["tunnels"] == 1


def test_what_it_counts(app):
    apps = app()
    with Client(apps.ports[0]) as client:
        client.send(request() * 3, request(target="/?status=500"))
        for _ in range(4):
            client.response()
        stats = apps.stats()
        assert (stats["requests"], stats["connections"], stats["open"]) == (4, 1, 1)
        assert stats["responses"] == {"200": 3, "500": 1}
        assert stats["bytes_in"] == len(request() * 3) + len(request(target="/?status=500"))
        assert stats["bytes_out"] == client.received
    apps.reset()
    assert apps.stats()["requests"] == 0


def test_pipelining_with_delays(app):
    with Client(app(1, "service=1ms").ports[0]) as client:
        client.send(b"".join(request(target=f"/bytes/{n}") for n in range(50)))
        assert [client.response().size for _ in range(50)] == list(range(50))


def test_help_names_every_option():
    done = subprocess.run([binary("weir-app"), "--help"], capture_output=True, text=True,
                          check=True)
    for word in ("--instances", "service", "head_delay", "tunnel_bytes", "/_stats", "raw"):
        assert word in done.stdout


@pytest.mark.parametrize("args", [("--set", "banana=1"), ("--instance", "7:status=1"), ("extra",),
                                  ("--listen", "nowhere"), ("--instances", "0")])
def test_usage_errors(args):
    done = subprocess.run([binary("weir-app"), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr


def test_the_real_apps_agree_on_the_bytes(node, gunicorn):
    for port in (node.port, gunicorn.port):
        with Client(port) as client:
            assert client.ask(target="/bytes/2000000").sha256 == pattern_sha256(2000000)
            assert json.loads(client.ask("POST", "/echo", body=b"x").body)["body_length"] == 1


def test_the_app_with_redis_does_not_work_for_who_has_gone(tmp_path):
    """Else an overload would be felt for as long again, and scripts/scale-out measure that."""
    app = RedisApp(tmp_path, "--instances", "1", "--workers", "1", "--service", "100", "--shared", "1",
                   "--permits", "1")
    try:
        waiting = [Client(app.port) for _ in range(600)]  # a minute of work
        for client in waiting:
            client.send(request())
        for client in waiting:
            client.close()
        with Client(app.port) as late:
            assert late.ask().status == 200
    finally:
        app.stop()


def test_what_hangs_is_answered_when_it_is_told_to(app):
    apps = app(1, "hang=1")
    with Client(apps.ports[0]) as one, Client(apps.ports[0]) as other, Client(apps.ports[0]) as gone:
        for client in (one, gone):
            client.send(request())
        wait_for(lambda: apps.stats()["in_progress"] == 2)
        gone.close()
        wait_for(lambda: apps.stats()["in_progress"] == 1)
        apps.go()
        assert one.response().status == 200
        other.send(request())
        wait_for(lambda: apps.stats()["in_progress"] == 1)
        apps.go()
        assert other.response().status == 200
