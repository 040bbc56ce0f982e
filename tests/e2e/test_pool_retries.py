# SPDX-License-Identifier: MIT
"""Retries of a pool: what is asked again, and what never is."""
import time
from collections import Counter

import pytest

from backends import free_port, refused_address
from test_pools import spread
from wire import wait_for


def test_connect_failures_go_to_another_backend(weir, app):
    backend = app()
    daemon = weir([refused_address(), backend.addresses[0]],
                  pool={"retry": {"budget": "100%"}, "balance": "round-robin"})
    client = daemon.connect()
    assert spread(client, 40) == {"app-0": 40}
    assert [client.ask("POST", body=b"x").status for _ in range(10)] == [200] * 10
    assert daemon.sum("retries") >= 3


def test_retry_off(weir, app):
    daemon = weir([refused_address(), app().addresses[0]],
                  pool={"retry": "off", "balance": "round-robin"})
    client = daemon.connect()
    # the third refusal in a row is the last for a second
    assert Counter(client.ask().status for _ in range(20)) == {200: 17, 502: 3}


def test_retry_needs_the_word_connect(weir, app):
    daemon = weir([refused_address(), app().addresses[0]],
                  pool={"retry": {"on": ["reset"]}, "balance": "round-robin"})
    client = daemon.connect()
    assert Counter(client.ask().status for _ in range(20)) == {200: 17, 502: 3}


def test_the_budget_bounds_retries(weir, app, scripted):
    """Half of the picks fail; a budget of 1% and its floor of 10 a second do not cover them."""
    daemon = weir([scripted(reset_after_request).address, app().addresses[0]],
                  pool={"retry": {"budget": "1%"}, "balance": "round-robin", "outlier": "off"})
    client = daemon.connect()
    statuses = Counter(client.ask().status for _ in range(1000))
    assert statuses[502] > 300 and statuses[200] >= 500, statuses


@pytest.mark.parametrize("balance", ["auto", "round-robin", "p2c"])
def test_a_dead_backend_is_left_alone(weir, app, balance):
    """It is always the least loaded one, and must not draw the traffic to its end."""
    backend = app()
    dead = refused_address()
    daemon = weir([dead, backend.addresses[0]], pool={"balance": balance}, workers=1)
    client = daemon.connect()
    assert {client.ask().status for _ in range(2000)} == {200}
    rows = {row["address"]: row for pool in daemon.pools() for row in pool["backends"]}
    assert 3 <= rows[dead]["connect_failures"] < 100
    daemon.says("times in a row")


def test_a_backend_that_returns_is_used_again(weir, app):
    first, port = app(), free_port()
    daemon = weir([f"127.0.0.1:{port}", first.addresses[0]],
                  pool={"balance": "round-robin"}, workers=1)
    client = daemon.connect()
    assert set(spread(client, 20)) == {"app-0"}
    app(name="back", options=("--listen", f"127.0.0.1:{port}"))
    wait_for(lambda: "back-0" in spread(client, 4))


def test_attempts(weir, app):
    dead = [refused_address() for _ in range(3)]
    pool = {"balance": "round-robin", "retry": {"attempts": 3, "budget": "100%"}}
    daemon = weir([*dead, app().addresses[0]], pool=pool)
    assert spread(daemon.connect(), 10) == {"app-0": 10}


def reset_after_request(peer):
    peer.request()
    peer.reset()


def test_get_is_retried_after_a_reset(weir, app, scripted):
    bad = scripted(reset_after_request)
    daemon = weir([bad.address, app().addresses[0]],
                  pool={"retry": {"budget": "100%"}, "balance": "round-robin",
                        "outlier": "off"})
    client = daemon.connect()
    assert spread(client, 20) == {"app-0": 20}
    assert bad.n_requests >= 10


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_what_is_not_idempotent_is_never_repeated(weir, app, scripted, method):
    bad, backend = scripted(reset_after_request), app()
    daemon = weir([bad.address, backend.addresses[0]],
                  pool={"retry": {"budget": "100%"}, "balance": "round-robin",
                        "outlier": "off"})
    client = daemon.connect()
    statuses = Counter(client.ask(method, body=b"x").status for _ in range(20))
    assert statuses == {200: 10, 502: 10}
    assert (bad.n_requests, backend.stats()["requests"]) == (10, 10)


def test_nothing_is_repeated_after_a_response_byte(weir, app, scripted):
    def handler(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\n")
        time.sleep(0.02)
        peer.reset()
    bad, backend = scripted(handler), app()
    daemon = weir([bad.address, backend.addresses[0]],
                  pool={"retry": {"budget": "100%"}, "balance": "round-robin"})
    client = daemon.connect()
    assert Counter(client.ask().status for _ in range(10)) == {200: 5, 502: 5}


def test_a_body_past_the_buffer_is_not_repeated(weir, app, scripted):
    def handler(peer):
        peer.request_head()
        got = 0
        while got < 150000:
            peer.fill()
            got += len(peer.buf)
            peer.buf = b""
        peer.reset()
    bad, backend = scripted(handler), app()
    daemon = weir([bad.address, backend.addresses[0]],
                  pool={"retry": {"budget": "100%", "buffer": "1KiB"}, "balance": "round-robin"},
                  workers=1)
    statuses = Counter(daemon.ask("PUT", body=b"x" * 200000).status for _ in range(4))
    assert statuses == {200: 2, 502: 2}


def test_a_small_put_is_repeated_with_its_body(weir, app, scripted):
    bad, backend = scripted(reset_after_request), app()
    daemon = weir([bad.address, backend.addresses[0]],
                  pool={"retry": {"budget": "100%"}, "balance": "round-robin"})
    client = daemon.connect()
    for size in (1, 5000, 40000) * 2:
        response = client.ask("PUT", "/echo", body=b"x" * size)
        assert (response.status, response.json()["body_length"]) == (200, size)
    assert bad.n_requests >= 3


def test_no_backend_is_tried_twice(weir, scripted):
    bad = [scripted(reset_after_request) for _ in range(2)]
    daemon = weir([b.address for b in bad], pool={"retry": {"attempts": 5, "budget": "100%"}})
    assert daemon.ask().status == 502
    assert [b.n_requests for b in bad] == [1, 1]
