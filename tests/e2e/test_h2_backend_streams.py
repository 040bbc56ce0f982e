# SPDX-License-Identifier: MIT
"""HTTP/2 towards backends: how many streams there may be, and how they end."""
import threading

import pytest

from h2peer import H2Server, answering
from test_h2_backend import serve  # noqa: F401, pylint: disable=unused-import
from wire import PATIENCE, SLOW, request, wait_for


def no_streams(allow, first=0):
    """A handler that answers `first` requests, then allows no streams until it is to."""
    def handler(peer):
        server = H2Server(peer, {3: first})
        for _ in range(first):
            stream = server.request()[0]
            server.h2.update_settings({3: 0})  # in one write: who has the answer comes again at once
            server.answer(stream)
        peer.sock.settimeout(0.05)
        while not allow.is_set():
            try:
                server.turn()
            except TimeoutError:
                pass
        server.h2.update_settings({3: 10})
        server.flush()
        peer.sock.settimeout(20)
        for stream, _ in server.requests():
            server.answer(stream)
    return handler


@pytest.mark.parametrize("first, max_idle", [(0, 128), (0, 0), (1, 128)])
def test_a_backend_that_allows_no_streams(serve, first, max_idle):
    """It is a limit like others: the queue, then 503, and no further connections."""
    daemon = serve(no_streams(threading.Event(), first), queue={"timeout": "300ms"},
                   keepalive={"max_idle": max_idle})
    for _ in range(first):
        assert daemon.connect().ask().status == 200
    clients = [daemon.connect() for _ in range(20)]
    for client in clients:
        client.send(request())
    assert [client.response().status for client in clients] == [503] * 20
    assert daemon.admin.get("/v1/status")["outcomes"]["queue_timeout"] == 20
    assert daemon.peers[0].connections == 1


def test_streams_that_are_allowed_later(serve):
    allow = threading.Event()
    daemon = serve(no_streams(allow), queue={"timeout": "20s"})
    clients = [daemon.connect() for _ in range(5)]
    for client in clients:
        client.send(request())
    wait_for(lambda: daemon.sum("queued") == 5)
    allow.set()
    assert [client.response().status for client in clients] == [200] * 5
    assert daemon.peers[0].connections == 1


def test_the_end_of_a_connection_without_streams_wakes_who_waits(serve):
    """Another one may be opened in its place."""
    leave, peers = threading.Event(), []

    def handler(peer):
        peers.append(peer)
        if len(peers) == 1:
            server = H2Server(peer, {3: 0})
            peer.sock.settimeout(0.05)
            while not leave.is_set():
                try:
                    server.turn()
                except TimeoutError:
                    pass
            return
        server = H2Server(peer)
        for stream, _ in server.requests():
            server.answer(stream)
    daemon = serve(handler, queue={"timeout": "20s"})
    clients = [daemon.connect() for _ in range(3)]
    for client in clients:
        client.send(request())
    wait_for(lambda: daemon.sum("queued") == 3)
    leave.set()
    assert [client.response().status for client in clients] == [200] * 3


def test_a_connection_that_never_greets_is_no_connection(serve):
    """However many come to wait for its SETTINGS, one after the other."""
    def handler(peer):
        if daemon.peers[0].connections == 1:
            peer.until_end()
            return
        server = H2Server(peer)
        for stream, _ in server.requests():
            server.answer(stream)

    def ask_on():
        while not right.is_set():
            if daemon.connect().ask().status == 200:
                right.set()
    right = threading.Event()
    daemon = serve(handler, timeouts={"connect": "200ms"})
    clients = [threading.Thread(target=ask_on) for _ in range(8)]
    for i, client in enumerate(clients):
        client.start()
        wait_for(lambda n=i: right.is_set() or daemon.sum("connect_failures") >= n)
    try:
        assert right.wait(PATIENCE * SLOW)
    finally:
        right.set()
        for client in clients:
            client.join()


def test_a_backend_that_says_goodbye_at_once(serve):
    def handler(peer):
        server = H2Server(peer)
        server.close(last=0)
        server.until_end()
    daemon = serve(handler)
    for _ in range(10):
        assert daemon.connect().ask().status == 502
    # twice, and that for one retry
    assert daemon.peers[0].connections <= 40
    # the second: a request was on its way already
    assert {"http2_failed", "refused_stream"} >= set(daemon.admin.get("/v1/status")["outcomes"])


def test_a_backend_that_speaks_http1_only(serve):
    """No TLS is spoken, so none has failed."""
    def handler(peer):
        peer.fill()
        peer.respond(status=400)
        peer.until_end()
    daemon = serve(handler)
    assert daemon.connect().ask().status == 502
    assert set(daemon.admin.get("/v1/status")["outcomes"]) == {"http2_failed"}


def test_streams_share_connections_within_the_peers_limit(serve):
    lock, seen, most = threading.Lock(), [], []

    def handler(peer):
        server = H2Server(peer, {3: 10})
        known = 0
        peer.sock.settimeout(0.1)
        while len(seen) < 35:
            try:
                server.turn()
            except TimeoutError:
                continue
            with lock:
                seen.extend(list(server.streams)[known:])
            known = len(server.streams)
            most.append(known)
        peer.sock.settimeout(20)
        for stream in list(server.streams):
            server.answer(stream)
        server.until_end()
    daemon = serve(handler)
    clients = [daemon.connect() for _ in range(35)]
    for client in clients:
        client.send(request())
    assert [client.response().status for client in clients] == [200] * 35
    assert max(most) <= 10


def test_refused_streams_go_elsewhere_even_posts(serve):
    refused = []

    def refuse(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            refused.append(req)
            server.reset(stream, 7)
    daemon = serve(refuse, answering())
    client = daemon.connect()
    for _ in range(20):
        assert client.ask("POST", body=b"abc").body == b"3"
    assert refused


def test_with_retry_off_a_refused_stream_is_not_sent_again(serve):
    def refuse(peer):
        server = H2Server(peer)
        for stream, _ in server.requests():
            server.reset(stream, 7)
    daemon = serve(refuse, retry="off")
    client = daemon.connect()
    assert [client.ask().status for _ in range(3)] == [502] * 3
    assert daemon.sum("requests") == 3


def test_goaway_moves_unseen_streams_to_a_new_connection(serve):
    rounds = []

    def handler(peer):
        server = H2Server(peer)
        rounds.append(server)
        if len(rounds) == 1:
            stream, _ = server.request()
            server.answer(stream)
            server.request()
            server.close(0, last=stream)
            server.until_end()
            return
        for stream, _ in server.requests():
            server.answer(stream)
    daemon = serve(handler)
    client = daemon.connect()
    assert client.ask().status == 200
    assert client.ask("POST", body=b"x").status == 200
    assert len(rounds) == 2
