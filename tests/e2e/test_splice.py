# SPDX-License-Identifier: MIT
"""Large plain bodies pass through a pipe in the kernel (splice_pipes)."""
import ssl
import threading

import pytest

from backends import pattern, pattern_sha256
from certs import Authority
from wire import TIMEOUT, Truncated, request, wait_for

MIB = 1 << 20
SIZE = 8 * MIB + 12345


def spliced(daemon):
    return daemon.admin.get("/v1/status")["totals"]["bytes_spliced"]


def test_most_of_a_large_body_is_not_copied(weir, app):
    daemon = weir(app().addresses, workers=1)
    client = daemon.connect()
    for n in (1, 2):  # the connections go on behind it, on both sides
        response = client.ask(target=f"/bytes/{SIZE}")
        assert (response.size, response.sha256) == (SIZE, pattern_sha256(SIZE))
        assert spliced(daemon) > n * SIZE // 2
    assert client.ask(target="/bytes/10").body == pattern(10)
    assert daemon.sum("upconns") == 1
    assert daemon.sum("bytes_in") > 2 * SIZE


@pytest.mark.parametrize("size", [65536, 131000, 131072, 200000])
def test_borders(weir, app, size):
    daemon = weir(app().addresses)
    client = daemon.connect()
    for _ in range(3):
        response = client.ask(target=f"/bytes/{size}")
        assert (response.size, response.sha256) == (size, pattern_sha256(size))


def test_none_when_switched_off(weir, app):
    daemon = weir(app().addresses, splice_pipes=0)
    assert daemon.ask(target=f"/bytes/{SIZE}").sha256 == pattern_sha256(SIZE)
    assert spliced(daemon) == 0 and daemon.pipes() == 0


def test_chunks_and_encryption_are_copied(weir, app, tmp_path):
    ca = Authority(tmp_path)
    site = ca.issue("site", ["a.example"])
    daemon = weir(app().addresses, listener={"tls": {"certificates": [site.conf]}})
    client = daemon.connect()
    context = ssl.create_default_context(cafile=str(ca.pem))
    client.sock = context.wrap_socket(client.sock, server_hostname="a.example")
    assert client.ask(target=f"/bytes/{SIZE}").sha256 == pattern_sha256(SIZE)
    assert client.ask(target=f"/bytes/{SIZE}?framing=chunked").sha256 == pattern_sha256(SIZE)
    assert spliced(daemon) == 0


def test_slow_readers_that_hold_all_pipes(weir, app):
    """One pipe for three clients that do not read: two are served by copying, all get all."""
    daemon = weir(app().addresses, workers=1, splice_pipes=1)
    clients = [daemon.connect(rcvbuf=8192) for _ in range(3)]
    for client in clients:
        client.send(request(target=f"/bytes/{SIZE}"))
    wait_for(lambda: daemon.pipes() == 1)
    assert daemon.ask(target=f"/bytes/{MIB}").sha256 == pattern_sha256(MIB)
    for client in clients:
        assert client.response().sha256 == pattern_sha256(SIZE)
    assert daemon.pipes() <= 1


def test_a_client_that_leaves_with_a_pipe_full(weir, app):
    backends = app()
    daemon = weir(backends.addresses, workers=1)
    for _ in range(5):
        client = daemon.connect(rcvbuf=8192)
        client.send(request(target=f"/bytes/{100 * MIB}"))
        wait_for(lambda: spliced(daemon) > 0)
        client.reset()
        wait_for(lambda: backends.stats()["in_progress"] == 0)
    assert daemon.pipes() <= 1


def test_a_cut_body_is_never_presented_as_complete(weir, scripted):
    def cut(peer):
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", pattern(2000000))
            peer.close()
            return
    daemon = weir([scripted(cut).address], workers=1)
    client = daemon.connect()
    client.send(request())
    assert client.response_head().status == 200
    with pytest.raises((ConnectionError, Truncated)):
        client.exactly(3000000, lambda piece: None)
    assert spliced(daemon) > 0


@pytest.mark.parametrize("tail", [1, 65536])
def test_more_than_the_body_is_not_the_next_answer(weir, scripted, tail):
    """It comes together with the end of the body: the connection is not used again."""
    size, received = 1000000, threading.Event()

    def too_much(peer):
        while peer.request() is not None:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size,
                      pattern(size)[:-tail])
            assert received.wait(TIMEOUT)
            received.clear()
            peer.send(pattern(size)[-tail:] + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    daemon = weir([scripted(too_much).address], workers=1)
    client = daemon.connect()
    for _ in range(3):
        client.send(request())
        assert client.response_head().status == 200
        client.exactly(size - tail, lambda piece: None)
        received.set()
        client.exactly(tail, lambda piece: None)
    assert spliced(daemon) > 0
