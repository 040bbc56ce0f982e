# SPDX-License-Identifier: MIT
"""Peers that take a few bytes at a time, or nothing for a while: every byte arrives, in order."""
import hashlib
import threading

import pytest

from backends import pattern
from daemon import preloading
from wire import chunked, request

SIZES = (0, 1, 5000, 65535, 65536, 150000)


def pieces(body, size=20000):
    return [body[i:i + size] for i in range(0, len(body), size)]


def echo(peer):
    """200 with the request's body, counted and chunked in turn."""
    while (msg := peer.request()) is not None:
        body = msg.body
        if len(body) % 2:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                      + chunked(pieces(body)))
        else:
            peer.respond(body)


@pytest.fixture
def slow_world(tmp_path, weir, scripted):
    """slow_world(stall_ms=None) -> the daemon in front of an echo"""
    env = preloading(tmp_path, "short_write")

    def start(stall_ms=None, **kwargs):
        stall = {"STALL_MS": str(stall_ms)} if stall_ms else {}
        return weir([scripted(echo).address], env=env | stall, workers=1, **kwargs)
    return start


def digest(data):
    return len(data), hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("in_chunks", [False, True])
def test_both_ways(slow_world, in_chunks):
    client = slow_world().connect()
    for size in SIZES:
        body = pattern(size)
        if in_chunks:
            headers = [("Transfer-Encoding", "chunked")]
            client.send(request("POST", headers=headers) + chunked(pieces(body)))
            response = client.response("POST")
        else:
            response = client.ask("POST", body=body)
        assert response.status == 200
        assert digest(response.body) == digest(body)


def test_pipelined(slow_world):
    client = slow_world().connect()
    bodies = [pattern(size) for size in (3, 70000, 0, 9, 40001, 12)]
    sender = threading.Thread(target=client.send, args=(
        b"".join(request("POST", body=body) for body in bodies),))
    sender.start()
    for body in bodies:
        assert digest(client.response("POST").body) == digest(body)
    sender.join()


def test_a_backend_that_stalls_after_the_head(slow_world):
    """What comes in the meantime waits for the backend, it is not thrown away."""
    client = slow_world(stall_ms=500).connect()
    body = pattern(400000)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
    client.send(head + body[:50000])
    sender = threading.Thread(target=client.send, args=(body[50000:],))
    sender.start()
    response = client.response("POST")
    sender.join()
    assert digest(response.body) == digest(body)
