# SPDX-License-Identifier: MIT
"""The end: drained on TERM, at once on the second."""
import signal
import time

import pytest

from wire import Client, request, wait_for


@pytest.fixture
def one(weir, app):
    backend = app()
    daemon = weir(backend.addresses, shutdown_timeout="10s")
    daemon.app = backend
    return daemon


def refuses(port):
    try:
        Client(port, timeout=1).close()
        return False
    except ConnectionError:
        return True


def ended(daemon):
    """Exit 0 without TERM from the fixture."""
    daemon.checked = True
    assert daemon.wait() == 0, daemon.stderr
    daemon.assert_quiet()


def under_way(daemon, target="/?hang=1", seen="in_progress"):
    """One that goes on until daemon.app.go()."""
    client = daemon.connect()
    client.send(request(target=target))
    wait_for(lambda: daemon.app.stats()[seen] == 1)
    return client


def test_term_without_traffic(one):
    begin = time.monotonic()
    one.kill(signal.SIGTERM)
    ended(one)
    assert time.monotonic() - begin < 20, "shutdown_timeout is 30 s"


def test_term_lets_exchanges_finish(one):
    client = under_way(one)
    one.kill(signal.SIGTERM)
    wait_for(lambda: refuses(one.port), what="listeners are closed")
    assert one.admin.call("GET", "/readyz").status == 503
    assert one.admin.call("GET", "/livez").status == 200
    one.app.go()
    response = client.response()
    assert response.status == 200
    assert "close" in response.get("Connection", "")
    client.assert_closed()
    ended(one)


def test_drain_by_the_api(one):
    client = under_way(one)
    assert one.admin.call("POST", "/v1/drain").status == 200
    wait_for(lambda: refuses(one.port), what="listeners are closed")
    assert one.admin.call("GET", "/v1/status").json()["draining"] is True
    assert one.admin.call("POST", "/v1/reload").status == 422, "too late for a new configuration"
    one.app.go()
    assert client.response().status == 200
    ended(one)


def test_term_lets_a_long_body_finish(one):
    client = under_way(one, "/bytes/60000?rate=60000", "max_in_progress")
    one.kill(signal.SIGTERM)
    assert client.response().size == 60000
    begin = time.monotonic()
    ended(one)
    assert time.monotonic() - begin < 20, "a connection that has become idle is closed"


def test_term_closes_idle_connections(one):
    idle = one.connect()
    idle.ask()
    client = under_way(one)
    one.kill(signal.SIGTERM)
    idle.assert_closed()
    one.app.go()
    assert client.response().status == 200
    ended(one)


def test_term_finishes_the_queue(weir, app):
    backend = app(1, "hang=1")
    daemon = weir([{"address": backend.addresses[0], "max_requests": 1}],
                  pool={"queue": {"timeout": "60s"}})
    clients = [daemon.connect() for _ in range(3)]
    for client in clients:
        client.send(request())
    wait_for(lambda: sum(w["exchanges"] for w in daemon.admin.get("/v1/status")["workers"]) == 3)
    wait_for(lambda: backend.stats()["in_progress"] == 1)
    backend.set(hang=0)
    daemon.kill(signal.SIGTERM)
    wait_for(lambda: refuses(daemon.port), what="listeners are closed")
    backend.go()
    assert [client.response().status for client in clients] == [200] * 3
    ended(daemon)


def test_shutdown_timeout_cuts_what_is_left(weir, app):
    backend = app()
    daemon = weir(backend.addresses, shutdown_timeout="300ms")
    daemon.app = backend
    client = under_way(daemon, "/?head_delay=60s")
    begin = time.monotonic()
    daemon.kill(signal.SIGTERM)
    daemon.checked = True
    daemon.wait()
    assert 0.2 < time.monotonic() - begin < 20, "it is 30 s otherwise"
    client.assert_closed()
    daemon.assert_quiet()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_now(one, second):
    client = under_way(one, "/?head_delay=60s")
    one.kill(signal.SIGTERM)
    wait_for(lambda: refuses(one.port))
    begin = time.monotonic()
    one.kill(second)
    one.checked = True
    code = one.wait()
    assert time.monotonic() - begin < 20, "shutdown_timeout is 30 s"
    assert code in (0, 1), "no signal death"
    client.assert_closed()
    one.assert_quiet()


def test_int_stops(one):
    one.kill(signal.SIGINT)
    ended(one)


def test_hup_while_draining_is_harmless(one):
    client = under_way(one)
    one.kill(signal.SIGTERM)
    wait_for(lambda: refuses(one.port))
    one.kill(signal.SIGHUP)
    one.app.go()
    assert client.response().status == 200
    ended(one)


def test_usr1_without_a_log_is_harmless(one):
    one.kill(signal.SIGUSR1)
    assert one.ask().status == 200


def test_start_again_at_once_on_the_same_port(weir, app):
    backend = app()
    daemon = weir(backend.addresses)
    assert daemon.ask().status == 200
    daemon.finish()
    again = weir(conf=daemon.conf, status_socket=daemon.sock)
    assert again.ask().status == 200
