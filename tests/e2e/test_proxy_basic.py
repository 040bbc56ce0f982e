# SPDX-License-Identifier: MIT
"""Ordinary traffic: every framing, in every direction, byte for byte."""
import hashlib
import threading

import pytest

from backends import pattern, pattern_sha256
from conftest import FILE_SIZES
from wire import Truncated, chunked, request, wait_for

MIB = 1 << 20


# ---- downloads ----

@pytest.mark.parametrize("kind", ["node", "gunicorn", "nginx", "file_server", "app"])
def test_bodies_arrive_byte_for_byte(kind, weir, app, request):
    backend = app() if kind == "app" else request.getfixturevalue(kind)
    address = backend.addresses[0] if kind == "app" else backend.address
    path = {"nginx": "/{}.bin", "file_server": "/{}.bin"}.get(kind, "/bytes/{}")
    daemon = weir([address])
    client = daemon.connect()
    for size in FILE_SIZES:
        response = client.ask(target=path.format(size), keep=False)
        assert (response.status, response.size) == (200, size)
        assert response.sha256 == pattern_sha256(size)


@pytest.mark.parametrize("kind", ["node", "gunicorn"])
def test_files_of_real_servers(kind, weir, request):
    daemon = weir([request.getfixturevalue(kind).address])
    client = daemon.connect()
    for size in FILE_SIZES[:-1]:
        response = client.ask(target=f"/file?path={size}.bin")
        assert (response.status, response.size) == (200, size)
        assert response.sha256 == pattern_sha256(size)


@pytest.mark.parametrize("size", [0, 1, 65536, 5 * MIB])
@pytest.mark.parametrize("chunk", [1000, 16384, 100000])
def test_chunked_response_with_trailers(one, size, chunk):
    client = one.connect()
    for _ in range(2):
        response = client.ask(target=f"/bytes/{size}?framing=chunked&trailers=1&chunk={chunk}",
                              headers=[("TE", "trailers")], keep=False)
        assert response.framing == "chunked"
        assert response.sha256 == pattern_sha256(size)
        assert response.trailers.get("X-App-Bytes") == str(size)


def test_chunks_of_one_byte(one):
    response = one.ask(target="/bytes/20000?framing=chunked&chunk=1")
    assert response.sha256 == pattern_sha256(20000)


@pytest.mark.parametrize("kind", ["node", "gunicorn"])
def test_chunked_of_real_servers(kind, weir, request):
    daemon = weir([request.getfixturevalue(kind).address])
    client = daemon.connect()
    for size in (0, 1000, 3 * MIB):
        assert client.ask(target=f"/chunked/{size}", keep=False).sha256 == pattern_sha256(size)


@pytest.mark.parametrize("size", [0, 1, 100000, 5 * MIB])
def test_close_delimited_response(one, size):
    response = one.ask(target=f"/bytes/{size}?framing=close")
    assert response.framing in ("chunked", "close")
    assert response.sha256 == pattern_sha256(size)


def test_close_delimited_response_for_http10(one):
    response = one.ask(target="/bytes/100000?framing=close", version="1.0")
    assert response.framing == "close"
    assert response.sha256 == pattern_sha256(100000)


def test_head_has_no_body_and_the_connection_goes_on(one):
    client = one.connect()
    for _ in range(3):
        response = client.ask("HEAD", "/bytes/12345")
        assert (response.status, response.get("Content-Length")) == (200, "12345")
        assert client.ask(target="/bytes/10").body == pattern(10)
    assert client.ask("HEAD", "/bytes/12345?framing=chunked").status == 200
    assert client.ask(target="/bytes/10").body == pattern(10)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(weir, scripted, status):
    def handler(peer):
        while peer.request():
            lengths = b"Content-Length: 1000\r\n" if status == 304 else b""
            peer.send(b"HTTP/1.1 %d X\r\nETag: \"a\"\r\n%s\r\n" % (status, lengths))
    daemon = weir([scripted(handler).address])
    client = daemon.connect()
    for _ in range(3):
        response = client.ask()
        assert (response.status, response.body) == (status, b"")
        assert "Transfer-Encoding" not in response.headers


# ---- uploads ----

@pytest.mark.parametrize("kind", ["node", "gunicorn", "app"])
@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3 * MIB])
def test_uploads_arrive_byte_for_byte(kind, weir, app, request, size):
    backend = app() if kind == "app" else request.getfixturevalue(kind)
    daemon = weir([backend.addresses[0] if kind == "app" else backend.address])
    body = pattern(size)
    client = daemon.connect()
    echo = client.ask("POST", "/echo", body=body).json()
    assert (echo["body_length"], echo["body_sha256"]) == (size, hashlib.sha256(body).hexdigest())
    pieces = [body[i:i + 9973] for i in range(0, size, 9973)]
    client.send(make_head("POST", "/echo", [("Transfer-Encoding", "chunked")]), chunked(pieces))
    echo = client.response().json()
    assert (echo["body_length"], echo["body_sha256"]) == (size, hashlib.sha256(body).hexdigest())


def make_head(*args, **kwargs):
    return request(*args, **kwargs)


def test_request_trailers_arrive(one):
    client = one.connect()
    client.send(request("POST", "/echo", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]),
                chunked([b"hello"], [("X-Sum", "42")]))
    echo = client.response().json()
    assert echo["body_length"] == 5
    assert "x-sum: 42" in echo["trailers"].lower()


@pytest.mark.parametrize("size", [1, 100, 5000, 40000])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_chunk_framing_leaves_the_head_alone(one, method, size):
    """The last header line ends right before the bytes that framing is put around."""
    client = one.connect()
    for _ in range(3):
        client.send(request(method, "/echo", [("Transfer-Encoding", "chunked"), ("X-Last", "kept")]) +
                    chunked([b"x" * size]))
        echo = client.response().json()
        assert echo["body_length"] == size
        assert ["X-Last", "kept"] in echo["headers"]


def test_chunk_extensions_are_understood(one):
    client = one.connect()
    client.send(request("POST", "/echo", [("Transfer-Encoding", "chunked")]),
                b"5;name=value\r\nhello\r\n0;last\r\n\r\n")
    assert client.response().json()["body_length"] == 5


def test_upload_of_64_mib(one):
    client = one.connect()
    size = 64 * MIB
    client.send(request("PUT", "/echo", [("Content-Length", size)]))
    block = pattern(1048573)
    sent = 0
    while sent < size:
        sent += len(piece := block[:size - sent])
        client.send(piece)
    assert client.response().json()["body_sha256"] == pattern_sha256(size)


def test_a_request_byte_by_byte(one):
    client = one.connect()
    for byte in request("POST", "/echo", body=b"hello"):
        client.send(bytes([byte]))
    assert client.response().json()["body_length"] == 5
    for byte in request("POST", "/echo", [("Transfer-Encoding", "chunked")]) + \
            chunked([b"hel", b"lo"], [("X-T", "1")]):
        client.send(bytes([byte]))
    assert client.response().json()["body_length"] == 5


def test_a_response_byte_by_byte(weir, scripted):
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"

    def handler(peer):
        while peer.request():
            for byte in whole:
                peer.send(bytes([byte]))
    daemon = weir([scripted(handler).address])
    client = daemon.connect()
    for _ in range(3):
        response = client.ask()
        assert (response.body, response.trailers.get("X-T")) == (b"hello", "1")


# ---- versions, methods, targets ----

def test_http10_client(one):
    client = one.connect()
    response = client.ask(target="/bytes/1000?framing=chunked", version="1.0")
    assert response.framing != "chunked" and response.body == pattern(1000)
    client.assert_closed()


def test_http10_client_without_host(one):
    client = one.connect()
    assert client.ask(version="1.0", host=None).status == 200
    client.assert_closed()


def test_http10_backend(one):
    client = one.connect()
    for framing in ("length", "close"):
        response = client.ask(target=f"/bytes/1000?http10=1&framing={framing}")
        assert (response.version, response.body) == ("HTTP/1.1", pattern(1000))


def test_backend_without_keepalive(one):
    client = one.connect()
    for _ in range(10):
        assert client.ask(target="/?keepalive=0").status == 200
    assert one.app.stats()["connections"] == 10


def test_connection_close_is_obeyed(one):
    client = one.connect()
    response = client.ask(headers=[("Connection", "close")])
    assert "close" in response.get("Connection", "")
    client.assert_closed()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH",
                                    "PROPFIND", "PURGE", "M-SEARCH"])
def test_methods_pass(one, method):
    response = one.ask(method, "/echo")
    assert response.status == 200
    if method != "HEAD":
        assert response.json()["method"] == method


def test_get_with_a_body(one):
    assert one.ask("GET", "/echo", body=b"hello").json()["body_length"] == 5


@pytest.mark.parametrize("target", [
    "/echo?a=b&c=%20d", "/echo?x=/../y", "/echo?q=%E2%82%AC+1", "/echo?" + "a" * 7980,
    "/echo?a=[b]|{c}"])
def test_targets_are_forwarded_as_sent(one, target):
    assert one.ask(target=target).json()["target"] == target


@pytest.mark.parametrize("target", ["/a%2Fb//c/./d", "/a;b=c/@:!$&'()*+,=~", "/%7euser"])
def test_paths_are_forwarded_as_sent(one, target):
    assert one.ask(target=target, headers=[("X-App-Echo", "1")]).json()["target"] == target


def test_absolute_form_becomes_origin_form(one):
    echo = one.ask(target="http://weir.test/echo?a=1").json()
    assert echo["target"] == "/echo?a=1"
    assert ["Host", "weir.test"] in [[n.title(), v] for n, v in echo["headers"]]


def test_options_asterisk(one):
    echo = one.ask("OPTIONS", "*", [("X-App-Echo", "1")]).json()
    assert (echo["method"], echo["target"]) == ("OPTIONS", "*")


# ---- pipelining ----

def test_pipelined_answers_come_in_order(one):
    client = one.connect()
    delays = [30, 0, 20, 0, 0, 10, 0, 5, 0, 0]
    client.send(b"".join(request(target=f"/bytes/{i + 1}?head_delay={d}ms")
                         for i, d in enumerate(delays)))
    for i in range(len(delays)):
        assert client.response().body == pattern(i + 1)


def test_many_pipelined_requests(one):
    client = one.connect()
    n = 500
    thread = threading.Thread(target=client.send, args=(request(target="/bytes/2000") * n,))
    thread.start()
    for _ in range(n):
        assert client.response().size == 2000
    thread.join()


def test_pipelined_requests_with_bodies(one):
    client = one.connect()
    client.send(b"".join(request("POST", "/echo", body=b"x" * i) for i in (5, 0, 70000, 3)))
    for i in (5, 0, 70000, 3):
        assert client.response().json()["body_length"] == i


def test_leading_crlf_between_requests(one):
    client = one.connect()
    client.send(request(), b"\r\n", request())
    assert [client.response().status, client.response().status] == [200, 200]


# ---- interim responses ----

def test_expect_continue_passes_through(one):
    client = one.connect()
    client.send(request("POST", "/echo", [("Expect", "100-continue"), ("Content-Length", "5")]))
    assert client.info().status == 100
    client.send(b"hello")
    assert client.response().json()["body_length"] == 5


def test_expect_continue_refused_early(one):
    client = one.connect()
    client.send(request("POST", "/x?early=close&status=417",
                        [("Expect", "100-continue"), ("Content-Length", "5000000")]))
    response = client.response()
    assert (response.status, response.infos) == (417, [])


def test_expect_continue_and_a_client_that_does_not_wait(one):
    client = one.connect()
    client.send(request("POST", "/echo", [("Expect", "100-continue")], b"hello"))
    response = client.response()
    assert response.json()["body_length"] == 5
    assert all(info.status == 100 for info in response.infos)


def test_expect_continue_and_a_backend_that_never_says_it(one):
    client = one.connect()
    client.send(request("POST", "/echo?expect=never", [("Expect", "100-continue")], b"hello"))
    assert client.response().json()["body_length"] == 5


def test_early_hints_pass_through(one):
    client = one.connect()
    response = client.ask(target="/?hints=3")
    assert [info.status for info in response.infos] == [103] * 3
    assert response.infos[0].get("Link") == "</a.css>; rel=preload"
    assert response.status == 200


def test_no_interim_responses_for_http10(one):
    response = one.ask(target="/?hints=2", version="1.0", headers=[("X-App-Http10", "0")])
    assert response.infos == []


# ---- answers before the upload is over ----

@pytest.mark.parametrize("early", ["drain", "close"])
def test_early_final_response_during_the_upload(one, early):
    client = one.connect()
    size = 20 * MIB
    client.send(request("POST", f"/x?early={early}&status=413", [("Content-Length", size)]))
    client.send(b"x" * 1000)
    assert client.response().status == 413  # before the rest is sent

    def upload():
        try:
            client.send(b"x" * (size - 1000))
        except OSError:
            pass
    thread = threading.Thread(target=upload)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "neither drained nor closed"


def test_early_final_response_does_not_wait_for_the_client(one):
    client = one.connect()
    client.send(request("POST", "/x?early=drain&status=403",
                        [("Transfer-Encoding", "chunked")]), b"5\r\nhello\r\n")
    assert client.response().status == 403


# ---- bounded memory ----

def test_slow_reader_costs_bounded_memory(one):
    client = one.connect(rcvbuf=16384)
    before = one.rss()
    client.send(request(target=f"/bytes/{1 << 30}"))
    stalled = wait_for(lambda: _stands_still(lambda: one.app.stats()["bytes_out"]), 8)
    assert stalled < 40 * MIB, "weir took far more than its and the kernel's buffers"
    assert one.grew_less(before, 3 * MIB)


def _stands_still(value):
    import time
    before = value()
    time.sleep(0.1)
    return value() if value() == before and before > 0 else 0


def test_slow_readers_each_cost_little(one):
    before = one.rss()
    clients = [one.connect(rcvbuf=8192) for _ in range(100)]
    for client in clients:
        client.send(request(target=f"/bytes/{100 * MIB}"))
    wait_for(lambda: _stands_still(lambda: one.app.stats()["bytes_out"]), 8)
    # at most 64 KiB per direction
    assert one.grew_less(before, 160 * 1024 * len(clients))


def test_slow_backend_costs_bounded_memory(weir, app):
    # the end of the client hides behind bytes that weir does not read: a timeout ends it
    one = weir(app().addresses, pool={"timeouts": {"idle": "2s"}},
               listener={"timeouts": {"body_idle": "2s"}})
    client = one.connect()
    before = one.rss()
    client.sock.settimeout(1)
    client.send(request("POST", "/echo?read_rate=1000", [("Content-Length", 1 << 30)]))
    sent = 0
    try:
        while sent < 256 * MIB:
            sent += client.sock.send(b"x" * 65536)
    except TimeoutError:
        pass
    assert sent < 60 * MIB, "weir took far more than its and the kernel's buffers"
    assert one.grew_less(before, 3 * MIB)


def test_slow_body_from_the_backend(one):
    response = one.ask(target="/bytes/30000?rate=60000")
    assert response.body == pattern(30000)


def test_slow_client_gets_all(one):
    client = one.connect(rcvbuf=4096)
    client.send(request(target="/bytes/3000000"))
    import time
    time.sleep(0.3)  # let every buffer on the way fill up
    assert client.response(keep=False).sha256 == pattern_sha256(3000000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["node", "app"])
def test_one_gibibyte(kind, weir, app, request):
    address = app().addresses[0] if kind == "app" else request.getfixturevalue(kind).address
    daemon = weir([address])
    before = daemon.rss()
    response = daemon.ask(target=f"/bytes/{1 << 30}", keep=False)
    assert (response.size, response.sha256) == (1 << 30, pattern_sha256(1 << 30))
    assert daemon.grew_less(before, 3 * MIB)


# ---- many at once ----

def test_many_connections_at_once(weir, app):
    backends = app(3)
    daemon = weir(backends.addresses)
    failures = []

    def run(i):
        try:
            client = daemon.connect()
            for j in range(20):
                size = (i * 977 + j * 7919) % 70000
                if client.ask(target=f"/bytes/{size}", keep=False).sha256 != pattern_sha256(size):
                    failures.append((i, j))
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert backends.total("requests") == 800
    assert daemon.sum("requests") == 800


def test_idle_connections_survive(one):
    clients = [one.connect() for _ in range(200)]
    for _ in range(2):
        for client in clients:
            assert client.ask().status == 200


def test_unix_socket_backend(weir, scripted, tmp_path):
    backend = scripted(address=str(tmp_path / "app.sock"))
    daemon = weir([backend.address])
    client = daemon.connect()
    for _ in range(3):
        assert client.ask().body == b"ok\n"
    assert backend.n_requests == 3


def test_ipv6_backend(weir, scripted):
    backend = scripted(address=("::1", 0))
    assert weir([backend.address]).ask().body == b"ok\n"


def test_truncated_is_told_apart(one):
    """The harness itself: a short body raises."""
    with pytest.raises(Truncated):
        one.ask(target="/bytes/1000?wrong=short")
