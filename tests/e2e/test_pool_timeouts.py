# SPDX-License-Identifier: MIT
"""Timeouts of a pool."""
import socket
import time

import pytest

from backends import free_port
from test_pools import spread
from wire import Truncated, request, wait_for


def test_response_timeout(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"timeouts": {"response": "200ms"}})
    begin = time.monotonic()
    assert daemon.ask(target="/?hang=1").status == 504
    assert 0.15 < time.monotonic() - begin < 20, "30 s are the default"
    wait_for(lambda: backend.stats()["open"] == 0)


@pytest.fixture
def deaf():
    """An address whose SYNs are dropped: the backlog is full and nobody accepts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", free_port()))
    listener.listen(0)
    fillers = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        fillers.append(sock)
    time.sleep(0.05)
    yield "%s:%d" % listener.getsockname()
    for sock in (*fillers, listener):
        sock.close()


def test_connect_timeout(weir, deaf):
    daemon = weir([deaf], pool={"timeouts": {"connect": "200ms"}})
    begin = time.monotonic()
    assert daemon.ask().status == 504
    assert 0.15 < time.monotonic() - begin < 2.9, "3 s are the default"


def test_connect_timeout_goes_to_another_backend(weir, deaf, app):
    daemon = weir([deaf, app().addresses[0]],
                  pool={"timeouts": {"connect": "100ms"}, "balance": "round-robin",
                        "retry": {"budget": "100%"}})
    client = daemon.connect()
    assert spread(client, 6) == {"app-0": 6}


def test_a_hedge_has_a_connect_timeout_of_its_own(weir, deaf, scripted):
    """The second attempt never connects, the first is late and then breaks: tried again at once."""
    asked = []

    def handler(peer):
        while peer.request():
            asked.append(peer)
            if len(asked) == 1:
                wait_for(lambda: daemon.pools()[0]["hedges"] == 1)
                wait_for(lambda: daemon.backends()["deaf"]["connect_failures"] == 1)
                return
            peer.respond(b"again")
    first, third = scripted(handler), scripted(handler)
    daemon = weir([{"address": first.address, "priority": 0},
                   {"address": deaf, "name": "deaf", "priority": 1},
                   {"address": third.address, "priority": 2}], workers=1,
                  pool={"retry": {"hedge": {"after": "20ms", "budget": "100%"}, "budget": "100%"},
                        "timeouts": {"connect": "150ms", "response": "25s"}})
    assert daemon.ask().body == b"again"
    row = daemon.pools()[0]
    assert (row["hedges"], row["hedges_won"], row["retries"]) == (1, 0, 1)


def test_idle_timeout_in_the_middle_of_a_body(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"timeouts": {"idle": "200ms"}})
    for framing in ("length", "chunked"):
        client = daemon.connect()
        client.send(request(target=f"/bytes/1000?body_delay=25s&framing={framing}"))
        with pytest.raises((Truncated, ConnectionResetError)):
            client.response()
    wait_for(lambda: backend.stats()["open"] == 0)


def test_a_slow_but_steady_body_is_no_timeout(weir, app):
    daemon = weir(app().addresses, pool={"timeouts": {"idle": "1s", "response": "1s"}})
    assert daemon.ask(target="/bytes/20000?rate=14000").size == 20000
