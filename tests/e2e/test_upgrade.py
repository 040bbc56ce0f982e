# SPDX-License-Identifier: MIT
"""Tunnels: WebSocket and any other Upgrade token."""
import os
import threading
import time

import pytest
import websocket

from backends import pattern
from wire import TIMEOUT, request, wait_for

MIB = 1 << 20


def upgrade(client, target="/", token="echo", headers=()):
    if token == "websocket":
        headers = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", 13)]
    client.send(request("GET", target, [("Connection", "Upgrade"), ("Upgrade", token), *headers]))
    response = client.response()
    assert response.status == 101, response
    assert response.get("Upgrade") == token
    assert "upgrade" in response.get("Connection").lower()
    return response


@pytest.fixture
def one(weir, app):
    backend = app()
    daemon = weir(backend.addresses, pool={"timeouts": {"idle": "2s"}})
    daemon.app = backend
    return daemon


def test_websocket_echo_through_node(weir, node):
    daemon = weir([node.address])
    ws = websocket.create_connection(f"ws://127.0.0.1:{daemon.port}/ws", timeout=TIMEOUT)
    for message in ("hi", "x" * 200, "y" * 70000, "z" * 1000000, ""):
        ws.send(message)
        assert ws.recv() == message
    ws.send_binary(bytes(range(256)))
    assert ws.recv() == bytes(range(256))
    ws.ping("still there?")
    ws.send("after the ping")
    assert ws.recv() == "after the ping"
    ws.close()


def test_many_websockets(weir, node):
    daemon = weir([node.address])
    sockets = [websocket.create_connection(f"ws://127.0.0.1:{daemon.port}/", timeout=TIMEOUT)
               for _ in range(30)]
    for turn in range(5):
        for i, ws in enumerate(sockets):
            ws.send(f"{turn} {i}")
        for i, ws in enumerate(sockets):
            assert ws.recv() == f"{turn} {i}"
    assert daemon.sum("in_flight") == 30
    for ws in sockets:
        ws.close()


@pytest.mark.parametrize("token", ["echo", "websocket", "raw/1.0", "h2c-like"])
def test_any_token_is_a_tunnel(one, token):
    client = one.connect()
    upgrade(client, token=token)
    for data in (b"a", b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n\r\n"):
        client.send(data)
        while len(client.buf) < len(data):
            client.fill()
        assert client.take(len(data)) == data


def test_bytes_sent_with_the_request_head_are_not_lost(one):
    client = one.connect()
    client.send(request("GET", "/", [("Connection", "upgrade"), ("Upgrade", "echo")]) + b"early")
    assert client.response().status == 101
    while len(client.buf) < 5:
        client.fill()
    assert client.buf == b"early"


def test_bytes_right_behind_the_101_are_not_lost(one):
    client = one.connect()
    upgrade(client, "/?tunnel_bytes=3000000")
    got = bytearray()
    client.exactly(3000000, got.extend)
    assert bytes(got) == pattern(3000000)
    client.send(b"and back")
    got.clear()
    client.exactly(8, got.extend)
    assert bytes(got) == b"and back"


def test_large_both_ways(one):
    client = one.connect()
    upgrade(client)
    data = os.urandom(1 << 16) * 160  # 10 MiB
    thread = threading.Thread(target=client.send, args=(data,))
    thread.start()
    got = bytearray()
    client.exactly(len(data), got.extend)
    thread.join()
    assert bytes(got) == data


def test_backpressure_in_a_tunnel(one):
    client = one.connect(rcvbuf=16384)
    before = one.rss()
    upgrade(client, f"/?tunnel_bytes={1 << 30}")
    last, now = -1, 0
    while now != last:
        last = now
        time.sleep(0.15)
        now = one.app.stats()["bytes_out"]
    assert now < 40 * MIB
    assert one.grew_less(before, 3 * MIB)


def test_idle_timeout_ends_a_tunnel(weir, app):
    daemon = weir(app().addresses, pool={"timeouts": {"idle": "300ms"}})
    client = daemon.connect()
    begin = time.monotonic()
    upgrade(client)
    client.assert_closed()
    assert 0.2 < time.monotonic() - begin


@pytest.mark.parametrize("tunnel,idle,ends", [("300ms", "60s", True), ("60s", "300ms", False)])
def test_tunnels_of_a_route_have_a_time_of_their_own(weir, app, tunnel, idle, ends):
    daemon = weir(app().addresses, pool={"timeouts": {"idle": idle}},
                  routes=[{"pool": "app", "timeouts": {"tunnel": tunnel}}])
    client = daemon.connect()
    upgrade(client)
    if ends:
        client.assert_closed()
        return
    time.sleep(0.6)  # twice what would end it, were it not a tunnel
    client.send(b"x")
    client.fill()
    client.take(1)


def test_traffic_keeps_a_tunnel_alive(weir, app):
    daemon = weir(app().addresses, pool={"timeouts": {"idle": "1500ms"}})
    client = daemon.connect()
    upgrade(client)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        client.send(b"x")
        client.fill()
        client.take(1)
        time.sleep(0.05)


def test_the_client_ends_a_tunnel(one):
    client = one.connect()
    upgrade(client)
    assert one.app.stats()["in_progress"] == 1
    client.close()
    wait_for(lambda: one.app.stats()["in_progress"] == 0)


def test_the_client_resets_a_tunnel(one):
    client = one.connect()
    upgrade(client)
    client.reset()
    wait_for(lambda: one.app.stats()["in_progress"] == 0)


def test_the_backend_ends_a_tunnel(weir, scripted):
    def handler(peer):
        peer.request()
        peer.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nlast words")
    daemon = weir([scripted(handler).address])
    client = daemon.connect()
    upgrade(client)
    got = bytearray()
    client.to_end(got.extend)
    assert bytes(got) == b"last words"


def test_half_close_lets_the_rest_through(one):
    client = one.connect()
    upgrade(client)
    data = os.urandom(500000)

    def push():
        client.send(data)
        client.end_direction()  # of a tunnel
    thread = threading.Thread(target=push)
    thread.start()
    got = bytearray()
    client.to_end(got.extend)
    thread.join()
    assert bytes(got) == data


def test_upgrade_that_the_backend_ignores(one):
    client = one.connect()
    for _ in range(2):
        response = client.ask("GET", "/?upgrade=0", [("Connection", "Upgrade"), ("Upgrade", "x")])
        assert response.status == 200


def test_101_that_nobody_asked_for_is_refused(weir, scripted):
    def handler(peer):
        peer.request()
        peer.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        peer.until_end()
    daemon = weir([scripted(handler).address])
    client = daemon.connect()
    assert client.ask().status == 502


def test_connect_is_refused(one):
    client = one.connect()
    client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
    assert client.response().status == 405
    client.assert_closed()
    assert one.app.stats()["requests"] == 0


def test_a_tunnel_counts_as_in_flight(one):
    client = one.connect()
    upgrade(client)
    assert one.sum("in_flight") == 1
