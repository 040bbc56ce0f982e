# SPDX-License-Identifier: MIT
"""HTTP/2 towards backends: shared connections, flow control, endings, hostile backends."""
import json
import subprocess
import threading

import pytest

from backends import pattern, pattern_sha256
from h2peer import H2Server, answering
from h2wire import H2, curl, post
from wire import SLOW, Closed, Truncated, chunked, request, wait_for


POOL = {"protocol": "h2", "retry": {"on": ["connect", "reset", "refused-stream"]}}


@pytest.fixture
def serve(weir, scripted):
    """serve(handler, ...) -> a daemon with one backend for each handler"""
    def start(*handlers, **pool):
        backends = [scripted(each) for each in handlers]
        daemon = weir([each.address for each in backends], pool={**POOL, **pool}, workers=1)
        daemon.peers = backends
        return daemon
    return start


def test_request_and_response(serve):
    seen = []
    daemon = serve(answering(seen))
    client = daemon.connect()
    for body in (b"", b"x", pattern(100000)):
        response = client.ask("POST", "/a?b=c", body=body,
                              headers=[("X-Own", "1"), ("TE", "trailers"),
                                       ("Connection", "X-Hop, TE"), ("X-Hop", "1")])
        assert (response.status, response.body) == (200, str(len(body)).encode())
    for req in seen:
        assert req.get(":method") == "POST" and req.get(":path") == "/a?b=c"
        assert req.get(":authority") == "weir.test" and req.get("host") is None
        assert req.get("te") == "trailers" and req.get("x-hop") is None
        assert req.get("connection") is None and req.get("x-own") == "1"
        assert req.get("x-forwarded-for") == "127.0.0.1"
    assert daemon.peers[0].connections == 1


def test_chunked_request_with_trailers(serve):
    seen = []
    daemon = serve(answering(seen))
    client = daemon.connect()
    client.send(request("POST", headers=[("Transfer-Encoding", "chunked")]))
    client.send(chunked([b"one", b"two" * 1000, pattern(70000)], trailers=[("X-Sum", "7")]))
    assert client.response().body == b"73003"
    assert seen[0].get("transfer-encoding") is None
    assert seen[0].body == b"one" + b"two" * 1000 + pattern(70000)
    assert seen[0].trailers == [("x-sum", "7")]


def test_response_forms(serve):
    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 103, [("link", "</a>")])
        server.head(stream, 200, [("x-a", "1")])
        server.data(stream, b"part one ")
        server.data(stream, b"part two")
        server.h2.send_headers(stream, [("x-sum", "9")], end_stream=True)
        server.flush()
        server.streams.pop(stream)
        stream, _ = server.request()
        server.head(stream, 204, end=True)
        server.streams.pop(stream)
        stream, _ = server.request()
        server.head(stream, 200, [("content-length", "10")], end=True)  # of HEAD
        server.streams.pop(stream)
        server.until_end()
    client = serve(handler).connect()
    response = client.ask()
    assert response.body == b"part one part two"
    assert response.trailers.get("x-sum") == "9"
    assert client.ask().status == 204
    assert client.ask("HEAD").get("content-length") == "10"


def test_large_bodies_both_ways(serve):
    big = pattern(3 << 20)

    def handler(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            server.head(stream, 200)
            server.data(stream, req.body, end=True)
    client = serve(handler).connect()
    for framing in ("length", "chunked"):
        if framing == "length":
            client.send(request("POST", body=big))
        else:
            client.send(request("POST", headers=[("Transfer-Encoding", "chunked")]))
            client.send(chunked([big[:1000], big[1000:]]))
        assert client.response().body == big


def test_a_slow_client_stops_only_its_own_stream(serve):
    sent = {}

    def handler(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            path = req.get(":path")
            if path == "/slow":
                server.head(stream, 200)
                left = 64 << 20
                sent[path] = 0
                server.streams.pop(stream)
                while left and server.h2.local_flow_control_window(stream):
                    n = min(server.h2.local_flow_control_window(stream), 16384, left)
                    server.h2.send_data(stream, b"x" * n)
                    server.flush()
                    left -= n
                    sent[path] += n
            else:
                server.answer(stream, path.encode())
    daemon = serve(handler)
    slow = daemon.connect(rcvbuf=4096)
    slow.send(request(target="/slow"))
    wait_for(lambda: sent.get("/slow", 0) > 0)
    client = daemon.connect()
    for i in range(20):
        assert client.ask(target=f"/{i}").body == f"/{i}".encode()
    assert daemon.peers[0].connections == 1
    slow.reset()


def test_a_window_that_has_grown_holds_what_the_client_does_not_take(serve):
    body, sent, stalled = pattern(8 << 20), [0], threading.Event()

    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 200, [("content-length", str(len(body)))])
        peer.sock.settimeout(0.2)
        while sent[0] < len(body):
            n = min(server.h2.local_flow_control_window(stream), 16384, len(body) - sent[0])
            try:
                if n:
                    server.h2.send_data(stream, body[sent[0]:sent[0] + n])
                    server.flush()
                    sent[0] += n
                else:
                    server.turn()
            except TimeoutError:
                stalled.set()
        stalled.set()
        server.end(stream)
        peer.sock.settimeout(20)
        server.until_end()
    daemon = serve(handler)
    client = daemon.connect(rcvbuf=65536)
    client.send(request())
    while len(client.buf) < 1 << 20:  # it reads, and stops
        client.fill()
    assert stalled.wait(20)
    assert client.response().body == body


def test_a_reset_stream_is_answered_502(serve):
    def handler(peer):
        server = H2Server(peer)
        for stream, req in server.requests():
            if req.get(":path") == "/reset":
                server.reset(stream, 2)
            else:
                server.answer(stream)
    daemon = serve(handler)
    client = daemon.connect()
    assert client.ask(target="/reset").status == 502
    assert client.ask().status == 200
    assert daemon.peers[0].connections == 1


def test_a_cut_response_is_not_presented_as_complete(serve):
    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 200)
        server.data(stream, b"half")
        server.reset(stream, 2)
        server.until_end()
    client = serve(handler).connect()
    client.send(request())
    with pytest.raises((Truncated, Closed, ConnectionResetError)):
        client.response()


def test_a_silent_connection_is_asked_and_given_up(serve):
    """However many requests come meanwhile (each of them ends by its own timeout)."""
    asked = []

    def handler(peer):
        if asked:
            answering()(peer)
            return
        server = H2Server(peer)
        server.answer(server.request()[0])
        while peer.fill():  # and not a word more
            if not asked and b"\0\0\x08\x06\0\0\0\0\0" in peer.buf:
                asked.append(len(daemon.peers[0].peers))
    daemon = serve(handler, timeouts={"response": "200ms"}, keepalive={"ping": "800ms"},
                   retry="off", outlier="off")
    assert daemon.ask().status == 200
    statuses = [daemon.ask().status]
    while 200 not in statuses:
        statuses.append(daemon.ask().status)
        assert len(statuses) < 200, "the connection is never given up"
    assert asked == [1] and statuses[0] == 504 and daemon.peers[0].connections == 2
    assert daemon.ask().status == 200


def test_a_client_that_leaves_cancels_its_stream(serve):
    codes, arrived = [], threading.Event()

    def handler(peer):
        server = H2Server(peer)
        stream, req = server.request()
        arrived.set()
        server.until(lambda: req.reset is not None)
        codes.append(req.reset)
        server.until_end()
    daemon = serve(handler)
    client = daemon.connect()
    client.send(request())
    arrived.wait(10)
    client.close()
    wait_for(lambda: codes == [8])


@pytest.mark.parametrize("headers", [
    [("connection", "close")], [("transfer-encoding", "chunked")], [("Upper", "1")],
    [("x-a", "a\rb")], [("x-a", "a\nb: c")], [("x a", "1")],
    [("content-length", "3"), ("content-length", "4")], [("content-length", "x")],
])
def test_malformed_heads_are_refused(serve, headers):
    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 200, headers, end=True)
        server.until_end()
    daemon = serve(handler, retry="off")
    assert daemon.ask().status == 502


@pytest.mark.parametrize("length, body", [(5, b"four"), (3, b"four")])
def test_content_length_must_fit_the_data(serve, length, body):
    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 200, [("content-length", str(length))])
        server.h2.send_data(stream, body, end_stream=True)
        server.flush()
        server.until_end()
    client = serve(handler, retry="off").connect()
    client.send(request())
    try:
        assert client.response().status == 502
    except (Truncated, Closed, ConnectionResetError):
        pass


@pytest.mark.parametrize("garbage", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",                      # no HTTP/2 at all
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff" * 100,  # a frame far too large
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff",  # HPACK nonsense
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" +
    b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678" * 5000,   # PING flood
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 5000,           # SETTINGS flood
], ids=["http1", "frame", "hpack", "ping", "settings"])
def test_a_hostile_backend_harms_nobody_else(serve, garbage):
    def handler(peer):
        peer.fill()
        peer.send(garbage)
        peer.until_end()
    daemon = serve(handler, answering(), outlier="off")
    client = daemon.connect()
    for _ in range(10):
        assert client.ask().status == 200


def test_reload_keeps_streams_and_retires_connections(serve, scripted):
    go = threading.Event()

    def handler(peer):
        server = H2Server(peer)
        stream, _ = server.request()
        server.head(stream, 200)
        server.data(stream, b"before ")
        go.wait(20)
        server.data(stream, b"after", end=True)
        server.streams.pop(stream)
        server.until_end()
    daemon = serve(handler)
    other = scripted(answering())
    client = daemon.connect()
    client.send(request())
    head = client.response_head()
    daemon.conf["pools"]["app"]["backends"] = [other.address]
    daemon.reload(daemon.conf)
    assert daemon.ask().body == b"0"
    go.set()
    response = client.body(head, "chunked", True)
    assert response.body == b"before after"
    wait_for(lambda: daemon.peers[0].peers[0].eof)


def test_errors_for_grpc(serve, weir):
    daemon = weir(["127.0.0.1:1"], pool=POOL)
    response = daemon.ask("POST", "/pkg.Service/Call", body=b"\0\0\0\0\0",
                          headers=[("Content-Type", "application/grpc"), ("TE", "trailers")])
    assert response.status == 200
    assert response.get("content-type") == "application/grpc"
    assert response.get("grpc-status") == "14"
    assert response.get("grpc-message")


def test_many_streams_at_once(serve):
    """h2load's HTTP/1 clients: some connections to the backend, nothing left over."""
    daemon = serve(answering())
    done = subprocess.run(["h2load", "--h1", "-n", "2000", "-c", "100", "-t", "1",
                           f"http://{daemon.bind(0)}/"], capture_output=True, text=True,
                          timeout=30, check=True)
    assert "2000 succeeded" in done.stdout
    assert daemon.peers[0].connections <= 2
    daemon.assert_idle()


@pytest.fixture
def chain(weir):
    """chain(addresses) -> a daemon that speaks HTTP/2 to another one in front of them"""
    fronts = []

    def start(addresses):
        back = weir(addresses)
        fronts.append(weir([f"127.0.0.1:{back.port}"], pool=POOL))
        return fronts[-1]
    yield start
    for each in fronts:  # before the one whose connections it keeps
        each.finish()


def test_downloads_of_http2_clients(chain, file_server):
    daemon = chain([file_server.address])
    for size in (0, 1, 1000, 65535, 65536, 65537, 1 << 20):
        assert curl(daemon, path=f"/{size}.bin") == pattern(size), size


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_uploads_of_http2_clients(chain, node, tmp_path, framing):
    daemon = chain([node.address])
    body = tmp_path / "body"
    # a stream without a length is chunked on the way
    how = ["-T", "-"] if framing == "chunked" else ["--data-binary", f"@{body}"]
    for size in (1, 2049, 16385, 65537, 3 << 20):
        body.write_bytes(pattern(size))
        with open(body, "rb") as stdin:
            done = subprocess.run(
                ["curl", "-s", "--http2-prior-knowledge", "-X", "POST",
                 "-H", "Expect:", *how, f"http://127.0.0.1:{daemon.port}/echo"],
                stdin=stdin, capture_output=True, timeout=30 * SLOW, check=False)
        assert done.returncode == 0, (size, done.returncode)
        answer = json.loads(done.stdout)
        assert answer["body_sha256"] == pattern_sha256(size), (size, answer)


def test_many_streams_of_http2_clients(chain, app):
    daemon = chain(app(4, "body=100").addresses)
    done = subprocess.run(["h2load", "-n", "10000", "-c", "12", "-m", "100",
                           f"http://127.0.0.1:{daemon.port}/"], capture_output=True, text=True,
                          timeout=60 * SLOW, check=True)
    assert "10000 succeeded, 0 failed" in done.stdout, done.stdout
    daemon.assert_idle()


def test_connections_that_end_after_some_requests_lose_none(serve):
    """As nginx does (keepalive_requests): the streams behind the last one are ignored."""
    def handler(peer):
        server = H2Server(peer, {3: 100})
        for _ in range(30):
            stream, req = server.request()
            if req is None:
                return
            server.answer(stream)
        server.close(0, last=stream)
        peer.until_end()
    daemon = serve(handler)
    done = subprocess.run(["h2load", "-n", "600", "-c", "6", "-m", "50",
                           f"http://127.0.0.1:{daemon.port}/"], capture_output=True, text=True,
                          timeout=30 * SLOW, check=True)
    assert "600 succeeded, 0 failed" in done.stdout, done.stdout


def test_the_end_of_an_upload_does_not_wait(serve):
    """
    What goes on when the backend gives its window back leaves in the same turn.  The
    next turn may be a second away, so many rounds would not end in time.
    """
    used_up, more = threading.Semaphore(0), threading.Semaphore(0)

    def handler(peer):
        server = H2Server(peer, {4: 1000})
        server.h2.acknowledge_received_data = lambda *_: None
        while server.until(lambda: any(len(r.body) == 1000 for r in server.streams.values())):
            used_up.release()
            more.acquire(timeout=10)
            server.h2.increment_flow_control_window(1000, next(iter(server.streams)))
            server.flush()
            stream, req = server.request()
            server.answer(stream, str(len(req.body)).encode())
    daemon = serve(handler)
    with H2(daemon.port) as client:
        for i in range(48):  # all within the window of the connection
            n = 1 + 2 * i
            client.send(client.headers(n, post(1200), end=False) + client.data(n, b"x" * 1000))
            assert used_up.acquire(timeout=10)
            client.send(client.data(n, b"y" * 100) + client.data(n, b"z" * 100, True) +
                        client.ping())
            while client.pongs <= i:
                client.next_frame()
            more.release()
            assert client.response(n).body == b"1200"
