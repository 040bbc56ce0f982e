# SPDX-License-Identifier: MIT
"""Limits and slow clients: what is too much is refused, the rest goes on."""
import json
import threading
import time

import pytest

from h2wire import H2
from wire import TIMEOUT, Client, request, wait_for


def served(client, timeout):
    client.sock.settimeout(timeout)
    try:
        return client.ask().status == 200
    except (OSError, AssertionError):
        return False


def test_connection_limit(weir, app):
    daemon = weir(app().addresses, listener={"limits": {"connections": 10}})
    clients = [daemon.connect() for _ in range(10)]
    assert all(served(client, TIMEOUT) for client in clients)
    extra = [daemon.connect() for _ in range(3)]
    assert not any(served(client, 0.2) for client in extra), "the eleventh is not served"
    assert all(served(client, TIMEOUT) for client in clients), "the ten go on"
    for client in extra + clients[:5]:
        client.close()
    wait_for(lambda: served(daemon.connect(), 1), what="there is room again")


def test_connection_limit_counts_over_all_workers(weir, app):
    daemon = weir(app().addresses, listener={"limits": {"connections": 20}}, workers=2)
    clients = []
    for _ in range(60):
        try:
            clients.append(daemon.connect())
        except OSError:
            pass
    threads_ok = []
    threads = [threading.Thread(target=lambda c=c: threads_ok.append(served(c, TIMEOUT)))
               for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(threads_ok) == 20


def test_running_out_of_descriptors_is_survived(weir, app):
    # a worker needs some for itself: the loop, listeners, the status socket
    daemon = weir(app().addresses, wrapper=["prlimit", "--nofile=48:48"])
    daemon.fd_check = False
    # accepted for certain: of those who come next it is chance whose worker is first
    clients = [daemon.connect() for _ in range(5)]
    assert all(served(client, TIMEOUT) for client in clients)
    for _ in range(95):
        try:
            clients.append(daemon.connect(timeout=1))
        except OSError:
            break
    for client in clients:  # they are about to ask something: nobody is idle
        try:
            client.send(b"GET / HTTP/1.1\r\n")
        except OSError:
            pass
    before = daemon.cpu_seconds()
    time.sleep(0.5)
    assert daemon.cpu_seconds() - before < 0.25, "it must not spin on accept"
    for client in clients:
        client.close()
    wait_for(lambda: served(daemon.connect(), 1), 10, "it goes on when descriptors return")
    said = [line for line in daemon.stderr.splitlines() if "descriptor" in line.lower()]
    assert 1 <= len(said) <= 5, daemon.stderr


def test_idle_clients_make_room_for_new_ones(weir, app):
    """So that a new one need not wait until a keep-alive runs out."""
    daemon = weir(app().addresses, wrapper=["prlimit", "--nofile=64:64"],
                  listener={"timeouts": {"keepalive": "300s"}})
    daemon.fd_check = False
    clients = []
    for _ in range(60):
        clients.append(daemon.connect())
        assert served(clients[-1], TIMEOUT)
    totals = daemon.admin.get("/v1/status")["totals"]
    assert totals["idle_closed"] > 0
    assert served(clients[-1], TIMEOUT), "who came last is there still"
    daemon.says("out of file descriptors")
    daemon.says("may open 64 descriptors")


def test_a_reload_that_allows_more_clients_than_descriptors(weir, app):
    """Said as at the start: in the answer, and after a HUP, which has none, in the log."""
    daemon = weir(app().addresses, wrapper=["prlimit", "--nofile=900:900"],
                  listener={"limits": {"connections": 300}})
    said = "limits.connections: 0 allows any number of clients, but the process may open 900"
    assert said not in daemon.stderr
    conf = daemon.conf
    conf["listeners"][0]["limits"]["connections"] = 0
    assert said in json.dumps(daemon.reload(conf)), "the answer"
    assert daemon.hup()["ok"] and daemon.stderr.count(said) == 2


@pytest.fixture
def hasty(weir, app):
    """A listener with short timeouts."""
    def start(**timeouts):
        backend = app()
        daemon = weir(backend.addresses, listener={"timeouts": timeouts})
        daemon.app = backend
        return daemon
    return start


def test_header_timeout(hasty):
    daemon = hasty(header="300ms")
    client = daemon.connect()
    begin = time.monotonic()
    client.send("GET / HTTP/1.1\r\nHost: a\r\n")
    assert client.response().status == 408
    assert 0.2 < time.monotonic() - begin < 9, "10 s are the default"
    client.assert_closed()


def test_slowloris(hasty):
    """A byte now and then does not put the header timeout off."""
    daemon = hasty(header="400ms")
    clients = [daemon.connect() for _ in range(50)]
    end = time.monotonic() + TIMEOUT
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Slow: y\r\n" * 1000
    i, alive = 0, clients
    while alive and time.monotonic() < end:
        still = []
        for client in alive:
            try:
                client.sock.setblocking(False)
                client.sock.send(data[i:i + 1])
                try:
                    if client.sock.recv(1000):
                        continue
                except BlockingIOError:
                    still.append(client)
            except OSError:
                pass
        alive, i = still, i + 1
        time.sleep(0.03)
    assert not alive, f"{len(alive)} of 50 are still there"
    assert daemon.ask().status == 200


def test_keepalive_timeout(hasty):
    daemon = hasty(keepalive="300ms")
    client = daemon.connect()
    begin = time.monotonic()
    assert client.ask().status == 200
    client.assert_closed()
    assert 0.2 < time.monotonic() - begin


def test_a_client_that_never_says_anything(hasty):
    daemon = hasty(keepalive="300ms", header="300ms")
    client = daemon.connect()
    client.sock.settimeout(TIMEOUT)
    while client.fill():  # a 408 is as good as silence
        pass
    assert daemon.ask().status == 200


def test_body_timeout(hasty):
    daemon = hasty(body_idle="300ms")
    client = daemon.connect()
    begin = time.monotonic()
    client.send(request("POST", "/echo", [("Content-Length", "1000")]), b"x" * 10)
    assert client.response().status == 408
    assert 0.2 < time.monotonic() - begin < 29, "30 s are the default"
    client.assert_closed()
    assert daemon.app.stats()["responses"] == {}


def test_a_slow_but_steady_body_is_no_timeout(hasty):
    daemon = hasty(body_idle="1500ms", header="1500ms")
    client = daemon.connect()
    client.send(request("POST", "/echo", [("Content-Length", "20")]))
    for _ in range(20):
        client.send("x")
        time.sleep(0.1)
    assert client.response().json()["body_length"] == 20


def test_write_timeout(hasty):
    daemon = hasty(write_idle="400ms")
    client = daemon.connect(rcvbuf=8192)
    client.send(request(target="/bytes/200000000"))
    wait_for(lambda: daemon.app.stats()["max_in_progress"] == 1)
    wait_for(lambda: daemon.app.stats()["in_progress"] == 0, what="the stalled reader is given up")
    assert daemon.app.stats()["responses"] == {}
    assert daemon.ask().status == 200


def test_a_slow_but_steady_reader_is_no_timeout(hasty):
    daemon = hasty(write_idle="1500ms")
    client = daemon.connect(rcvbuf=8192)
    size = 12000000
    client.send(request(target=f"/bytes/{size}"))
    msg = client.response_head()
    assert int(msg.get("Content-Length")) == size
    got = len(client.buf)
    client.buf = b""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        got += len(client.sock.recv(4096))
        time.sleep(0.01)
    while got < size:
        data = client.sock.recv(1 << 20)
        assert data, "cut"
        got += len(data)
    assert got == size


def test_one_greedy_client_does_not_starve_others(weir, app):
    daemon = weir(app().addresses, workers=1)
    greedy = [daemon.connect() for _ in range(3)]
    stop, pulled = [], [0] * len(greedy)

    def pull(i, client):
        client.send(request(target=f"/bytes/{1 << 40}"))
        try:
            while not stop and (data := client.sock.recv(1 << 20)):
                pulled[i] += len(data)
        except OSError:
            pass
        client.close()
    threads = [threading.Thread(target=pull, args=each) for each in enumerate(greedy)]
    for thread in threads:
        thread.start()
    try:
        polite = daemon.connect()
        waits = []
        for _ in range(30):
            before = sum(pulled)
            assert polite.ask().status == 200
            waits.append(sum(pulled) - before)
        assert sorted(waits)[20] < 256 << 20, waits  # bytes: what others got meanwhile
    finally:
        stop.append(True)
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_two_thousand_connections(weir, app):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 8000:
        pytest.skip("RLIMIT_NOFILE is below 8000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8000), hard))
    backend = app()
    daemon = weir(backend.addresses)
    before = daemon.rss()
    clients = [Client(daemon.port) for _ in range(2000)]
    try:
        for client in clients:
            client.send(request())
        assert all(client.response().status == 200 for client in clients)
        assert daemon.grew_less(before, 4096 * len(clients)), "an idle connection holds no buffer"
        wait_for(lambda: backend.stats()["open"] <= 128, what="idle upstream connections end")
    finally:
        for client in clients:
            client.close()


def test_a_connection_gets_only_so_old(weir, app):
    """The response after that ends it; one that is idle is closed."""
    daemon = weir(app().addresses, listener={"timeouts": {"max_age": "2s"}})
    client, idle = daemon.connect(), daemon.connect()
    assert served(idle, TIMEOUT)
    assert client.ask().get("Connection") != "close"
    response = client.ask(target="/?service=2400ms")  # under way when it gets too old
    assert (response.status, response.get("Connection")) == (200, "close")
    client.assert_closed()
    idle.assert_closed()


def test_an_http2_connection_gets_only_so_old(weir, app):
    daemon = weir(app().addresses, listener={"timeouts": {"max_age": "2s"}})
    with H2(daemon.port) as client:
        number = 1
        while not client.goaways:
            assert client.ask(number).status == 200
            number += 2
            time.sleep(0.1)
        assert number > 3 and client.end() == 0


def test_a_full_listener_says_so(weir, app):
    daemon = weir(app().addresses, listener={"limits": {"connections": 2}})
    clients = [daemon.connect() for _ in range(2)]
    assert all(served(client, TIMEOUT) for client in clients)
    for _ in range(3):
        assert not served(daemon.connect(), TIMEOUT)
    assert daemon.stderr.count("limits.connections (2) is reached") <= daemon.conf["workers"]
    daemon.says("listener web")
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("web has reached limits.connections (2)" in each for each in problems), problems


def test_hedges_go_without_attempts(weir, app):
    backends = app(2, overrides=["0:cut=before"])
    daemon = weir(backends.addresses,
                  pool={"balance": "round-robin", "retry": {"attempts": 0, "hedge": {}}})
    assert {daemon.ask().status for _ in range(4)} == {200, 502}
