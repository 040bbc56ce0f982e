# SPDX-License-Identifier: MIT
"""HTTP/2 towards clients: real clients, streams, bodies both ways, drain."""
import base64
import hashlib
import json
import signal
import socket
import subprocess
import threading

import pytest

from backends import pattern, pattern_sha256
from h2wire import CANCEL, GET, H2, INTERNAL, NO_ERROR, PROTOCOL, REFUSED, curl, post, raw
from wire import SLOW, wait_for


def test_curl(weir, app):
    daemon = weir(app(2).addresses)
    out = curl(daemon, "-w", "\n%{http_code} %{http_version}")
    assert out.endswith(b"200 2"), out


def test_refusals_are_named(weir, app):
    daemon = weir(app(1).addresses, pool={"queue": "off"}, listener={"refusal_header": "X-Refused"})
    out = curl(daemon, "-D", "-", "-o", "/dev/null", "-H", f"X-A: {'a' * 9000}")
    assert b"\r\nx-refused: line_too_long\r\n" in out, out
    daemon.admin.post(f"/v1/pools/app/backends/{next(iter(daemon.backends()))}",
                      {"state": "maintenance"})
    out = curl(daemon, "-D", "-", "-o", "/dev/null")
    assert b"\r\nx-refused: no_backend\r\n" in out, out
    out = curl(daemon, "-D", "-", "-o", "/dev/null", "-H", "Content-Type: application/grpc")
    assert b"grpc-status: 14\r\n" in out and b"\r\nx-refused: no_backend\r\n" in out, out


def test_curl_large_both_ways(weir, node, tmp_path):
    daemon = weir([node.address])
    body = tmp_path / "body"
    body.write_bytes(pattern(3 << 20))
    answer = json.loads(curl(daemon, "--data-binary", f"@{body}", "-H", "Expect:", path="/echo"))
    assert answer["body_sha256"] == pattern_sha256(3 << 20), answer


def test_download(weir, file_server):
    daemon = weir([file_server.address])
    out = curl(daemon, path="/65537.bin")
    assert out == pattern(65537)


def test_nghttp_and_h2load(weir, app):
    daemon = weir(app(4, "body=100").addresses)
    url = f"http://127.0.0.1:{daemon.port}/"
    subprocess.run(["nghttp", "-nv", url], check=True, capture_output=True, timeout=20 * SLOW)
    done = subprocess.run(["h2load", "-n", "5000", "-c", "4", "-m", "100", url],
                          capture_output=True, text=True, timeout=30 * SLOW, check=True)
    assert "5000 succeeded, 0 failed" in done.stdout, done.stdout


def test_streams_to_different_backends(weir, app):
    apps = app(3, "service=20ms,workers=1")
    daemon = weir(apps.addresses)
    with H2(daemon.port) as client:
        for i in range(3):
            client.request(1 + 2 * i)
        names = {client.response(1 + 2 * i).body for i in range(3)}
    assert len(names) == 3, names


def test_fields(weir, scripted):
    seen = []

    def backend(peer):
        while (req := peer.request()) is not None:
            seen.append(req)
            peer.respond(b"hi", headers=[("Connection", "keep-alive"), ("X-Reply", "Yes")])
    daemon = weir([scripted(backend).address])
    with H2(daemon.port) as client:
        stream = client.ask(1, GET + [("cookie", "a=1"), ("cookie", "b=2"), ("x-one", "1"),
                                      ("bad_name", "x"), ("te", "trailers"),
                                      ("x-forwarded-for", "6.6.6.6")])
    assert (stream.status, stream.body) == (200, b"hi")
    assert stream.get("x-reply") == "Yes" and stream.get("connection") is None
    headers = seen[0].headers
    assert headers.all("cookie") == ["a=1; b=2"]
    assert headers.all("host") == ["weir.test"] and headers.get("x-one") == "1"
    assert "bad_name" not in headers and "te" not in headers
    assert headers.all("x-forwarded-for") == ["127.0.0.1"]


@pytest.mark.parametrize("size", [0, 1, 1000, 16384, 65536, 1 << 20])
@pytest.mark.parametrize("length", [True, False])
def test_upload(weir, node, size, length):
    daemon = weir([node.address])
    body = pattern(size)
    fields = post(size if length else None, "/echo")
    with H2(daemon.port) as client:
        client.until(lambda: client.settings)
        client.send(client.headers(1, fields, end=False))
        sent, windows = 0, {0: 65535, 1: 65535}
        while sent < size:
            n = min(16384, size - sent, *(windows[i] + client.updates.get(i, 0) - sent
                                          for i in (0, 1)))
            if n <= 0:
                client.next_frame()
                continue
            client.send(client.data(1, body[sent:sent + n]))
            sent += n
        client.send(client.data(1, b"", True))
        stream = client.response(1)
    assert stream.status == 200
    assert json.loads(stream.body)["body_sha256"] == hashlib.sha256(body).hexdigest()


def test_a_window_that_has_grown_holds_what_the_backend_does_not_take(weir, scripted):
    size, body = 8 << 20, pattern(8 << 20)
    stalled, got = threading.Event(), []

    def handler(peer):
        msg = peer.request_head()
        while len(peer.buf) < 1 << 20:
            peer.fill()
        stalled.wait(20)
        got.append(peer.request_body(msg).body)
        peer.respond()
    daemon = weir([scripted(handler).address])
    with H2(daemon.port) as client:
        client.until(lambda: client.settings)
        client.send(client.headers(1, post(size), end=False))
        client.sock.settimeout(0.2)
        sent = 0
        while sent < size:
            n = min(16384, size - sent, 65535 + client.updates.get(1, 0) - sent)
            try:
                if n:
                    client.send(client.data(1, body[sent:sent + n]))
                    sent += n
                else:
                    client.next_frame()
            except TimeoutError:
                stalled.set()
        stalled.set()
        client.sock.settimeout(20 * SLOW)
        client.send(client.data(1, b"", True))
        assert client.response(1).status == 200
        assert client.updates[1] > size
    assert got == [body]


def test_heads_that_are_held_are_bounded(weir, scripted):
    """Fields out of the compression table, many times in each of many requests."""
    daemon = weir([scripted(lambda peer: peer.until_end()).address], workers=1)
    fill = [("x-fill", "a" * 3800)]
    with H2(daemon.port) as client:
        for i in range(1, 200, 2):
            client.send(client.headers(i, GET + fill * 7))
        client.until(lambda: sum(s.reset == REFUSED for s in client.streams.values()) >= 98)
        assert daemon.sum("in_flight") <= 2
    with H2(daemon.port) as client:  # and those that are only compressed are not refused
        for i in range(1, 200, 2):
            client.send(client.headers(i, GET + fill))
        wait_for(lambda: daemon.sum("in_flight") == 100)
    assert daemon.admin.get("/v1/status")["totals"]["h2_heads_refused"] >= 98


def test_one_stalled_stream_stops_nobody(weir, app):
    daemon = weir(app(2).addresses)
    with H2(daemon.port, windows=False, settings={4: 0}) as client:
        before = daemon.rss()
        client.request(1, [*GET[:3], (":path", "/?body=30000000")])
        client.until(lambda: client.stream(1).heads)
        client.send(client.settings_frame({4: 65535}))
        client.until(lambda: len(client.stream(1).body) > 1000)
        for i in range(3, 103, 2):
            client.send(client.window(0, 65535))
            assert client.ask(i, [*GET[:3], (":path", "/?body=100")]).status == 200
        assert daemon.grew_less(before, 4 << 20)
        client.send(client.reset(1))
        wait_for(daemon.is_idle, 5, "the reset ends the exchange")


def test_urgency(weir, app):
    """RFC 9218: who is more urgent is written first, by field and by PRIORITY_UPDATE."""
    daemon = weir(app(1).addresses, workers=1)

    def got(client):
        return [len(client.stream(i).body) for i in (3, 5)]

    def give(client, n):
        """Opens the connection's window by n; what either stream gets of it."""
        before = got(client)
        client.send(client.window(0, n))
        client.until(lambda: sum(got(client)) == sum(before) + n)
        return [now - then for now, then in zip(got(client), before)]
    with H2(daemon.port, windows=False, settings={4: 1 << 20}) as client:
        client.ask(1, [*GET[:3], (":path", "/?body=65535")])  # all there is of the window
        for i, urgency in ((3, 6), (5, 2)):
            client.request(i, [*GET[:3], (":path", "/?body=1000000"),
                               ("priority", f"u={urgency}")])
            client.until(lambda i=i: client.stream(i).heads)
        # a backend that is slow to begin gives less than it may before it is told to wait
        wait_for(lambda: daemon.sum("bytes_in") > 65535 + 2 * 8000, what="both have more to say")
        assert give(client, 4000) == [0, 4000]
        client.send(raw(0x10, 0, 0, b"\0\0\0\3u=0"))
        assert give(client, 4000) == [4000, 0]


def test_reset_frees_the_backend(weir, app):
    apps = app(1, "service=20s")
    daemon = weir(apps.addresses)
    with H2(daemon.port) as client:
        client.request(1)
        wait_for(lambda: daemon.sum("in_flight") == 1)
        client.send(client.reset(1))
        wait_for(lambda: daemon.sum("in_flight") == 0)
        assert client.ask(3, [*GET[:3], (":path", "/?service=0")]).status == 200


def test_broken_response_is_reset(weir, scripted):
    def backend(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    daemon = weir([scripted(backend).address])
    with H2(daemon.port) as client:
        stream = client.ask(1)
        assert stream.reset == INTERNAL and not stream.ended


def test_early_response(weir, scripted):
    def backend(peer):
        peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.until_end()
    daemon = weir([scripted(backend).address])
    with H2(daemon.port) as client:
        client.send(client.headers(1, post(100000), end=False) + client.data(1, b"x" * 1000))
        client.until(lambda: client.stream(1).reset is not None)
        stream = client.stream(1)
        assert (stream.status, stream.body, stream.ended) == (413, b"no", True)
        assert stream.reset == NO_ERROR


def test_interim_and_trailers(weir, scripted):
    seen = []

    def backend(peer):
        seen.append(peer.request())
        peer.send(b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")
        peer.until_end()
    daemon = weir([scripted(backend).address])
    with H2(daemon.port) as client:
        client.send(client.headers(1, post(), end=False) + client.data(1, b"body") +
                    client.headers(1, [("x-check", "9")], end=True))
        stream = client.response(1)
    assert [dict(head)[":status"] for head in stream.heads] == ["103", "200"]
    assert (stream.body, stream.trailers) == (b"hi", [("x-sum", "7")])
    assert seen[0].body == b"body" and seen[0].trailers == [("x-check", "9")]


def test_websocket(weir, node):
    daemon = weir([node.address])
    with H2(daemon.port) as client:
        client.until(lambda: client.settings)
        assert client.settings[8] == 1
        client.send(client.headers(1, [(":method", "CONNECT"), (":protocol", "websocket"),
                                       *GET[1:3], (":path", "/ws"),
                                       ("sec-websocket-version", "13")], end=False))
        client.until(lambda: client.stream(1).heads)
        assert client.stream(1).status == 200
        assert client.stream(1).get("sec-websocket-accept") is None
        mask, text = b"\1\2\3\4", b"hello"
        masked = bytes(c ^ mask[i % 4] for i, c in enumerate(text))
        client.send(client.data(1, bytes([0x81, 0x80 | len(text)]) + mask + masked))
        client.until(lambda: text in client.stream(1).body)


CONNECT = [(":method", "CONNECT"), (":protocol", "websocket"), *GET[1:3], (":path", "/ws"),
           ("sec-websocket-version", "13")]


def accept_of(msg):
    key = msg.headers.get("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()


def switch(peer):
    """The backend's side of a tunnel."""
    accept = accept_of(peer.request_head())
    peer.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
              f"Sec-WebSocket-Accept: {accept}\r\n\r\n")


@pytest.mark.parametrize("answer, status", [
    ("101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 502),
    ("101 X\r\nConnection: upgrade\r\nUpgrade: websocket", 502),
    ("200 OK\r\nContent-Length: 0", 502), ("403 No\r\nContent-Length: 0", 403)])
def test_websocket_that_is_not_accepted(weir, scripted, answer, status):
    """Weir is the WebSocket client of the backend: nobody else looks at its proof."""
    def handler(peer):
        peer.request_head()
        peer.send(f"HTTP/1.1 {answer}\r\n\r\n")
        peer.until_end()
    daemon = weir([scripted(handler).address], pool={"retry": "off"})
    with H2(daemon.port) as client:
        client.send(client.headers(1, CONNECT, end=False))
        assert client.response(1).status == status


@pytest.mark.parametrize("first", ["client", "backend"])
def test_half_closed_websockets(weir, scripted, first):
    """END_STREAM ends one direction; both ended is an end in order, with nothing lost."""
    got, rest = [], b"r" * 200000

    def handler(peer):
        switch(peer)
        if first == "backend":
            peer.send(rest)
            peer.sock.shutdown(socket.SHUT_WR)
        while peer.fill():
            pass
        got.append(peer.buf)
        if first == "client":
            peer.send(rest)
    daemon = weir([scripted(handler).address])
    with H2(daemon.port) as client:
        client.send(client.headers(1, CONNECT, end=False))
        client.until(lambda: client.stream(1).heads)
        if first == "backend":
            client.until(lambda: client.stream(1).ended)
        client.send(client.data(1, b"hello", True))
        stream = client.response(1)
        assert (stream.ended, stream.reset, stream.body) == (True, None, rest)
        wait_for(lambda: got)
        client.send(client.ping())  # the connection goes on
        client.until(lambda: client.pongs)
        assert client.stream(1).reset is None
    assert got[0] == b"hello"


@pytest.mark.parametrize("first", ["client", "backend"])
def test_websocket_that_is_reset(weir, scripted, first):
    ended = []

    def handler(peer):
        switch(peer)
        if first == "backend":
            peer.reset()
        else:
            try:
                ended.append(peer.sock.recv(1))
            except ConnectionResetError:
                ended.append("reset")
    daemon = weir([scripted(handler).address])
    with H2(daemon.port) as client:
        client.send(client.headers(1, CONNECT, end=False))
        client.until(lambda: client.stream(1).heads)
        if first == "backend":
            assert client.response(1).reset == CANCEL
        else:
            client.send(client.reset(1))
            assert wait_for(lambda: ended) == ["reset"]


def test_refusals_are_logged(weir, app, tmp_path):
    """Those that end with RST_STREAM before there is a request, too."""
    log = tmp_path / "access.log"
    daemon = weir(app(1).addresses, log={"access": {"path": str(log)}})
    with H2(daemon.port) as client:
        for i, extra in ((1, ("X-Upper", "1")), (3, ("connection", "close")), (5, (":x", "1"))):
            client.send(client.headers(i, [*GET, extra]))
            assert client.response(i).reset == PROTOCOL
        assert client.ask(7, [*GET, ("x-a", "v" * 9000)]).status == 431
    rows = wait_for(lambda: (text := log.read_text()).count("\n") == 4 and text.splitlines())
    assert [json.loads(row)["status"] for row in rows] == [400, 400, 400, 431]
    assert daemon.admin.get("/v1/status")["rejects"]["malformed"] == 3


def test_bodies_of_another_length_are_logged(weir, app, tmp_path):
    """Longer in the first DATA frame or later; and too short."""
    log = tmp_path / "access.log"
    daemon = weir(app(1).addresses, log={"access": {"path": str(log)}})
    with H2(daemon.port) as client:
        client.send(client.headers(1, post(3), end=False) + client.data(1, b"abcd"))
        assert client.response(1).reset == PROTOCOL
        client.send(client.headers(3, post(3), end=False) + client.data(3, b"a"))
        client.send(client.data(3, b"bcd"))
        assert client.response(3).reset == PROTOCOL
        client.send(client.headers(5, post(3), end=False) + client.data(5, b"a", end=True))
        assert client.response(5).reset == PROTOCOL
        assert client.ask(7).status == 200
    rows = wait_for(lambda: (text := log.read_text()).count("\n") == 4 and text.splitlines())
    ends = [json.loads(row)["outcome"] for row in rows]
    assert ends == ["bad_body"] * 3 + ["ok"]
    assert daemon.admin.get("/v1/status")["rejects"]["malformed"] == 3


def test_refusals_of_grpc(weir, app):
    """Trailers only, as gRPC has it; gRPC-Web has errors of HTTP."""
    daemon = weir(app(1).addresses)
    with H2(daemon.port) as client:
        for i, kind, grpc in ((1, "application/grpc", True), (3, "application/grpc+proto", True),
                              (5, "application/grpc-web", False), (7, "application/json", False)):
            stream = client.ask(i, [*post(), ("content-type", kind), ("x-a", "v" * 9000)], b"")
            assert stream.status == (200 if grpc else 431)
            assert stream.get("grpc-status") == ("8" if grpc else None)
            assert stream.get("content-type") == ("application/grpc" if grpc else
                                                  "text/plain; charset=utf-8")
            assert (stream.body == b"") == grpc


def test_drain(weir, app):
    apps = app(1, "hang=1")
    daemon = weir(apps.addresses)
    with H2(daemon.port) as client:
        client.request(1)
        wait_for(lambda: apps.stats()["in_progress"] == 1)
        apps.set(hang=0)
        daemon.kill(signal.SIGTERM)
        client.until(lambda: client.goaways)
        assert client.goaways[0] == (2**31 - 1, NO_ERROR)
        client.request(3)   # was on its way when the notice came
        apps.go()
        assert client.response(1).status == 200 and client.response(3).status == 200
        client.end()
        assert client.goaways[-1] == (3, NO_ERROR)
    daemon.checked = True
    daemon.wait()
    assert daemon.child.returncode == 0


def test_off(weir, app):
    daemon = weir(app(1).addresses, listener={"limits": {"h2_streams": 0}})
    with H2(daemon.port) as client:
        client.fill()
        assert client.buf.startswith(b"HTTP/1.1 505 ")


def test_idle_connection_ends(weir, app):
    daemon = weir(app(1).addresses, listener={"timeouts": {"keepalive": "300ms"}})
    with H2(daemon.port) as client:
        assert client.ask(1).status == 200
        assert client.end() == NO_ERROR


def test_over_tls(weir, app, tmp_path):
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(cert),
                    "-days", "30", "-subj", "/CN=weir.test", "-addext",
                    "subjectAltName=DNS:weir.test"], check=True, capture_output=True)
    daemon = weir(app(2).addresses, listener={
        "tls": {"certificates": [{"cert": str(cert), "key": str(key)}]}})
    out = subprocess.run(["curl", "-sk", "--http2", "-w", "\n%{http_code} %{http_version}",
                          f"https://127.0.0.1:{daemon.port}/?body=1000000", "-o", "/dev/null"],
                         capture_output=True, timeout=20 * SLOW, check=True).stdout
    assert out.endswith(b"200 2"), out
    done = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "32",
                           f"https://127.0.0.1:{daemon.port}/"], capture_output=True, text=True,
                          timeout=30 * SLOW, check=True)
    assert "2000 succeeded, 0 failed" in done.stdout, done.stdout


@pytest.mark.parametrize("length", [True, False])
def test_body_limit(weir, node, length):
    daemon = weir([node.address], listener={"limits": {"body_bytes": "10KiB"}})
    with H2(daemon.port) as client:
        client.send(client.headers(1, post(50000 if length else None, "/echo"), end=False))
        for _ in range(5):
            client.send(client.data(1, b"x" * 10000))
        client.until(lambda: client.stream(1).reset is not None)
        stream = client.stream(1)
        assert (stream.status, stream.ended, stream.reset) == (413, True, NO_ERROR)
        assert client.ask(3).status == 200
