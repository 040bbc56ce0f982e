# SPDX-License-Identifier: MIT
"""routes[].compress: answers in a coding that the client takes, and those that stay as they are."""
import gzip
import subprocess
import time
import zlib

import pytest

from h2wire import GET, H2
from wire import chunked, wait_for

TEXT = b"".join(b'{"row": %d, "name": "weir", "on": true}\n' % i for i in range(2000))
JSON = ("Content-Type", "application/json")


def backend(head=(JSON,), body=TEXT, status=200):
    def handler(peer):
        while (req := peer.request()) is not None:
            peer.respond(b"" if req.method == "HEAD" else body, status=status, headers=list(head))
    return handler


def start(weir, scripted, handler, compress=None, **kwargs):
    return weir([scripted(handler).address],
                routes=[{"pool": "app", "compress": compress or {"min_bytes": "1KiB"}}], **kwargs)


def get(daemon, accept="gzip", method="GET", **kwargs):
    headers = [("Accept-Encoding", accept)] if accept is not None else []
    return daemon.ask(method, "/", headers, **kwargs)


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0", "--http2-prior-knowledge"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_curl_reads_what_was_sent(weir, scripted, coding, version):
    daemon = start(weir, scripted, backend())
    command = ["curl", "-s", version, "--compressed", "-D", "/dev/stderr",
               f"http://127.0.0.1:{daemon.port}/", "-H", f"Accept-Encoding: {coding}"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == TEXT
    head = done.stderr.decode().lower()
    assert f"content-encoding: {coding}" in head and "vary: accept-encoding" in head
    assert "content-length" not in head


@pytest.mark.parametrize("accept,coding", [
    ("gzip, br, zstd", "zstd"), ("gzip, br", "br"), ("gzip", "gzip"), ("x-gzip", "gzip"),
    ("gzip;q=1.0, br;q=0.5", "gzip"), ("GZIP", "gzip"), ("*", "zstd"), ("zstd;q=0, *", "br"),
    ("gzip;q=0", None), ("identity", None), ("", None), (None, None), ("deflate", None),
    ("identity;q=1, gzip;q=0.5", None), ("gzip;q=nonsense", None), ("gzip;foo", None),
    (",,;;q=,gzip" + "," * 200, "gzip"),
])
def test_the_client_chooses(weir, scripted, accept, coding):
    daemon = start(weir, scripted, backend())
    answer = get(daemon, accept)
    assert answer.get("Content-Encoding") == coding
    assert answer.get("Vary") == "Accept-Encoding", "caches have to know either way"


@pytest.mark.parametrize("head,body,status", [
    ([JSON], b"short", 200),
    ([("Content-Type", "image/png")], TEXT, 200),
    ([], TEXT, 200),
    ([JSON, ("Content-Encoding", "br")], TEXT, 200),
    ([JSON, ("Cache-Control", "public, no-transform")], TEXT, 200),
    ([JSON, ("Set-Cookie", "session=1")], TEXT, 200),
    ([JSON, ("Content-Range", "bytes 0-9/10")], TEXT, 206),
    ([JSON, ("Content-Range", "bytes 0-9/10")], TEXT, 200),
])
def test_what_stays_as_it_is(weir, scripted, head, body, status):
    daemon = start(weir, scripted, backend(head, body, status))
    answer = get(daemon)
    assert answer.body == body and answer.status == status
    assert answer.get("Content-Encoding") in (None, "br")
    assert answer.get("Content-Length") == str(len(body))


def test_fields_that_speak_of_the_bytes(weir, scripted):
    daemon = start(weir, scripted, backend([
        JSON, ("ETag", '"abc"'), ("Accept-Ranges", "bytes"), ("Content-MD5", "x"),
        ("Repr-Digest", "sha-256=:x:"), ("Vary", "Origin")]))
    answer = get(daemon)
    assert gzip.decompress(answer.body) == TEXT
    assert answer.get("ETag") == 'W/"abc"'
    assert not any(name in answer.headers for name in ("Accept-Ranges", "Content-MD5",
                                                       "Repr-Digest", "Content-Length"))
    assert answer.headers.all("Vary") == ["Origin", "Accept-Encoding"]
    head = get(daemon, method="HEAD")
    assert head.get("Content-Encoding") == "gzip" and head.get("ETag") == 'W/"abc"'
    assert get(daemon, accept=None).get("ETag") == '"abc"'


def test_a_client_may_want_what_the_backend_sent(weir, scripted):
    daemon = start(weir, scripted, backend())
    answer = daemon.ask("GET", "/", [("Accept-Encoding", "gzip"),
                                     ("Cache-Control", "max-age=0, No-Transform")])
    assert answer.body == TEXT and answer.get("Content-Encoding") is None
    assert answer.get("Vary") == "Accept-Encoding"


@pytest.mark.parametrize("sent,tag,vary", [('W/"abc"', 'W/"abc"', "Accept-Encoding"),
                                           ('"abc"', '"abc"', None)])
def test_who_asks_again_is_told_of_the_same_answer(weir, scripted, sent, tag, vary):
    """A 304 speaks of what the client has: the encoded answer, by its weak tag, or the plain one."""
    def handler(peer):
        while peer.request() is not None:
            peer.send(b'HTTP/1.1 304 x\r\nETag: "abc"\r\n\r\n')
    daemon = start(weir, scripted, handler)
    answer = daemon.ask("GET", "/", [("Accept-Encoding", "gzip"), ("If-None-Match", sent)])
    assert (answer.status, answer.get("ETag"), answer.get("Vary")) == (304, tag, vary)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_of_all_lengths(weir, scripted, framing):
    """On both sides of each length from which on gzip takes more memory."""
    def handler(peer):
        while (req := peer.request()) is not None:
            body = TEXT[:int(req.target[1:])]
            if framing == "length":
                peer.respond(body, headers=[JSON])
            else:
                peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                          "Transfer-Encoding: chunked\r\n\r\n",
                          chunked([body[:100], body[100:]]))
    daemon = start(weir, scripted, handler, {"min_bytes": "1B"})
    with daemon.connect() as client:
        for size in [1, *(edge + more for edge in (250, 762, 1786, 3834, 7930, 16122, 32506, 65536)
                          for more in (0, 1))]:
            answer = client.ask("GET", f"/{size}", [("Accept-Encoding", "gzip")])
            assert gzip.decompress(answer.body) == TEXT[:size], size


def test_cookies_may_be_allowed(weir, scripted):
    daemon = start(weir, scripted, backend([JSON, ("Set-Cookie", "a=1")]), {"with_cookies": True})
    assert gzip.decompress(get(daemon).body) == TEXT


@pytest.mark.parametrize("version", ["http1", "h2"])
def test_events_stay_live(weir, scripted, version):
    """Each piece is readable when it comes, before the next one is sent."""
    go = []

    def handler(peer):
        peer.request()
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n")
        for i in range(3):
            piece = b"data: %d\n\n" % i
            peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wait_for(lambda i=i: len(go) > i, what="the client has read it")
        peer.send(b"0\r\n\r\n")
    daemon = start(weir, scripted, handler)
    unzip = zlib.decompressobj(31)
    text = b""
    if version == "h2":
        with H2(daemon.port) as peer:
            peer.send(peer.headers(1, GET + [("accept-encoding", "gzip")], end=True))
            seen = 0
            for i in range(3):
                want = b"data: %d\n\n" % i
                while not text.endswith(want):
                    body = peer.streams[1].body if 1 in peer.streams else b""
                    text += unzip.decompress(body[seen:])
                    seen = len(body)
                    if not text.endswith(want):
                        assert peer.next_frame() is not None
                go.append(i)
            peer.response(1)
    else:
        client = daemon.connect()
        command = ["curl", "-sN", "--compressed", f"http://127.0.0.1:{daemon.port}/"]
        client.close()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            for i in range(3):
                assert curl.stdout.readline() == b"data: %d\n" % i
                assert curl.stdout.readline() == b"\n"
                go.append(i)
            assert curl.stdout.read() == b"" and curl.wait() == 0


def test_a_broken_answer_is_not_presented_as_whole(weir, scripted):
    def handler(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n",
                  b"x" * 50000)
    daemon = start(weir, scripted, handler)
    done = subprocess.run(["curl", "-s", "--compressed", f"http://127.0.0.1:{daemon.port}/"],
                          capture_output=True, check=False)
    assert done.returncode != 0


def test_trailers_follow(weir, scripted):
    def handler(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
                  b"\r\n7d0\r\n" + b"y" * 2000 + b"\r\n0\r\nX-Sum: 7\r\n\r\n")
    daemon = start(weir, scripted, handler)
    answer = get(daemon)
    assert gzip.decompress(answer.body) == b"y" * 2000
    assert answer.trailers.get("X-Sum") == "7"


def test_memory_is_bounded_counted_and_given_back(weir, scripted):
    daemon = start(weir, scripted, backend(), workers=1)
    for _ in range(3):
        assert gzip.decompress(get(daemon).body) == TEXT
    metrics = daemon.admin.metrics()
    assert metrics["weir_compress_responses_total"] == 3
    assert metrics["weir_compress_in_bytes_total"] == 3 * len(TEXT)
    assert 0 < metrics["weir_compress_out_bytes_total"] < len(TEXT)
    wait_for(lambda: daemon.admin.metrics()['weir_memory_bytes{kind="compression"}'] == 0,
             what="streams that are over hold nothing")


@pytest.mark.parametrize("cut", ["reset", "close", "backend"])
def test_a_stream_that_is_cut_off_gives_back_its_memory(weir, scripted, cut):
    piece = b"7d0\r\n" + b"y" * 2000 + b"\r\n"
    go = []

    def handler(peer):
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
                  b"\r\n" + piece)
        wait_for(lambda: go, what="the stream is to be cut off")
        try:
            while cut == "close":  # who only ended its direction would take them
                peer.send(piece)
                time.sleep(0.05)
        except OSError:
            return
        if cut == "reset":
            peer.until_end()
    daemon = start(weir, scripted, handler)
    client = daemon.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: zstd\r\n\r\n")
    client.response_head()
    client.line()  # a piece has come through the coder

    def held():
        return daemon.admin.metrics()['weir_memory_bytes{kind="compression"}']
    assert held() > 10000
    if cut == "close":
        client.close()
    elif cut == "reset":
        client.reset()
    go.append(True)
    wait_for(lambda: held() == 0, what="its memory is given back")


def test_large_bodies_and_slow_clients(weir, scripted):
    import random
    noise = random.Random(1).randbytes(3_000_000)
    daemon = start(weir, scripted, backend([("Content-Type", "text/plain")], noise))
    for coding in ("gzip", "br", "zstd"):
        done = subprocess.run(["curl", "-s", "--compressed", "--limit-rate", "20M",
                               "-H", f"Accept-Encoding: {coding}",
                               f"http://127.0.0.1:{daemon.port}/"], capture_output=True, check=True)
        assert done.stdout == noise


def test_a_head_that_becomes_too_large_for_the_client(weir, scripted):
    """The error is a second answer of the same exchange: coded by itself, and nothing is left over."""
    def large(peer):
        while peer.request():
            peer.respond(TEXT, headers=[("Content-Type", "text/plain"), ("X-A", "a" * 65400)])
    daemon = start(weir, scripted, large, {"min_bytes": "1B"})
    for _ in range(3):
        assert get(daemon).status == 502
    name = 'weir_exchanges_total{outcome="response_too_large"}'
    wait_for(lambda: daemon.admin.metrics()[name] == 3)
