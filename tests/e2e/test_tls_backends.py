# SPDX-License-Identifier: MIT
"""TLS towards backends: who is trusted, what is resumed, what is cut."""
import re
import socket
import ssl
import threading

import pytest

from backends import answer_all, pattern
from test_tls import TlsClient, ca, site, tls_listener  # noqa: F401, pylint: disable=unused-import
from wire import TIMEOUT, request, wait_for


class TlsBackend:
    """Answers over TLS and notes what the handshakes came to."""

    def __init__(self, pair, client_ca=None):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(pair.pem, pair.key)
        if client_ca:
            self.context.load_verify_locations(str(client_ca.pem))
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.names = []
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        self.reused = []
        self.peers = []

    def __call__(self, peer):
        try:
            peer.sock = self.context.wrap_socket(peer.sock, server_side=True)
        except (ssl.SSLError, OSError):
            return
        self.reused.append(peer.sock.session_reused)
        self.peers.append(peer.sock.getpeercert())
        answer_all(peer)


def test_backend_is_verified(weir, scripted, ca, site):
    backend = TlsBackend(site)
    address = scripted(backend).address
    daemon = weir([address], pool={"tls": {"ca": str(ca.pem)}})  # by its address
    assert daemon.ask().status == 200
    assert backend.names in ([], [None])
    daemon.conf["pools"]["app"]["tls"]["sni"] = "a.example"
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert backend.names[-1] == "a.example"


@pytest.mark.parametrize("tls, why", [
    ({}, "self-signed|unable to get|self signed"), ({"sni": "wrong.example"}, "hostname mismatch")])
def test_backend_that_cannot_be_verified(weir, scripted, ca, site, tls, why):
    backend = scripted(TlsBackend(site))
    if tls:
        tls["ca"] = str(ca.pem)
    daemon = weir([backend.address], pool={"tls": tls})
    assert daemon.ask().status == 502
    assert backend.n_requests == 0
    row, = daemon.backends().values()
    assert re.search(why, row["tls_error"], re.I), row
    wait_for(lambda: re.search(why, daemon.stderr, re.I))
    assert re.search(why, daemon.ctl("backends", check=0).stdout, re.I)
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"].get("tls_untrusted", 0) >= 1)
    daemon.conf["pools"]["app"]["tls"] = {"verify": False}
    daemon.reload(daemon.conf)
    wait_for(lambda: daemon.ask().status == 200)
    row, = daemon.backends().values()
    assert row["tls_error"] is None


def test_plain_backend_behind_tls(weir, scripted, ca):
    def handler(peer):
        peer.sock.recv(4096)
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.close()
    daemon = weir([scripted(handler).address], pool={"tls": {"ca": str(ca.pem)}})
    assert daemon.ask().status == 502
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"] == {"tls_failed": 1})


def test_sessions_with_backends_are_resumed(weir, scripted, ca, site):
    backend = TlsBackend(site)
    daemon = weir([scripted(backend).address], workers=1,
                  pool={"tls": {"ca": str(ca.pem)}, "keepalive": {"max_idle": 0}})
    for _ in range(4):
        assert daemon.ask().status == 200
    wait_for(lambda: backend.reused == [False, True, True, True])


def test_kept_connections_stay(weir, scripted, ca, site):
    """Tickets that come when nothing is asked for do not end a kept connection."""
    server = scripted(TlsBackend(site))
    daemon = weir([server.address], workers=1, pool={"tls": {"ca": str(ca.pem)}})
    for _ in range(5):
        assert daemon.ask().status == 200
    assert server.connections == 1
    daemon.conf["pools"]["app"]["tls"]["sni"] = "a.example"
    daemon.reload(daemon.conf)
    assert daemon.ask().status == 200
    assert server.connections == 2, "made under other rules"


def test_own_certificate_is_shown(weir, scripted, ca, site):
    backend = TlsBackend(site, client_ca=ca)
    own = ca.issue("own")
    daemon = weir([scripted(backend).address],
                  pool={"tls": {"ca": str(ca.pem), **own.conf}})
    assert daemon.ask().status == 200
    assert backend.peers[0]["subject"] == ((("commonName", "own"),),)


def test_large_bodies_with_backends(weir, scripted, ca, site):
    server = TlsBackend(site)

    def handler(peer):
        peer.sock = server.context.wrap_socket(peer.sock, server_side=True)
        while msg := peer.request():
            peer.respond(body=msg.body)
    daemon = weir([scripted(handler).address], listener=tls_listener(site),
                  pool={"tls": {"ca": str(ca.pem)}})
    with TlsClient(daemon.port, ca) as client:
        got = client.ask("POST", body=pattern(500_000))
        assert got.status == 200 and got.body == pattern(500_000)


def test_truncated_response_is_never_whole(weir, scripted, ca, site):
    """Without close_notify the end of TCP is not the end of the body."""
    server = TlsBackend(site)

    def handler(peer):
        raw = peer.sock
        peer.sock = server.context.wrap_socket(raw, server_side=True)
        peer.request_head()
        peer.send("HTTP/1.0 200 OK\r\n\r\n", "x" * 5000)
        peer.sock.shutdown(socket.SHUT_RDWR)
    daemon = weir([scripted(handler).address], pool={"tls": {"ca": str(ca.pem)}})
    with daemon.connect() as client:
        client.send(request(version="1.0"))
        with pytest.raises((AssertionError, OSError)):
            client.response(keep=False)


class Records:
    """The server's side of TLS over `sock`, which says when its records leave."""

    def __init__(self, sock, context):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.until(self.tls.do_handshake)

    def until(self, call, *args):
        """What `call` comes to when enough has arrived; EOFError: no more does."""
        while True:
            try:
                got = call(*args)
                self.sock.sendall(self.outgoing.read())
                return got
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError from None
                self.incoming.write(data)

    def hear(self):
        """A request, which is one record here; EOFError: there is none."""
        got = self.until(self.tls.read, 65536)
        if not got:
            raise EOFError
        assert got.endswith(b"\r\n\r\n")

    def seal(self, *texts):
        """Records of each."""
        for text in texts:
            while text:
                text = text[self.tls.write(text):]
        return self.outgoing.read()


def reply(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("late", [0, 1, 40])
@pytest.mark.parametrize("rest", [0, 65536])
def test_a_record_behind_an_answer_is_nobodys_answer(weir, scripted, ca, site, version, late, rest):
    """Nor behind a read that was full, nor one whose last bytes come when it is asked again."""
    context = TlsBackend(site).context
    context.maximum_version = ssl.TLSVersion[version]
    both_wait = threading.Event()
    first = threading.Lock()

    def handler(peer):
        records = Records(peer.sock, context)
        records.hear()
        if not first.acquire(blocking=False):
            peer.sock.sendall(records.seal(reply(b"two")))
            return
        whole = reply(b"one" + b"1" * rest)
        if rest:
            peer.sock.sendall(records.seal(whole[:-rest]))
        assert both_wait.wait(TIMEOUT)
        sent = records.seal(whole[-rest:], reply(b"evil"))
        peer.sock.sendall(sent[:len(sent) - late])
        try:
            records.hear()
        except (EOFError, OSError):
            return
        peer.sock.sendall(sent[len(sent) - late:])

    daemon = weir([scripted(handler).address], workers=1,
                  pool={"tls": {"ca": str(ca.pem)}, "limits": {"requests": 1},
                        "queue": {"timeout": "20s"}})
    one, two = daemon.connect(), daemon.connect()
    one.send(request())
    wait_for(lambda: daemon.sum("in_flight") == 1)
    two.send(request())
    wait_for(lambda: daemon.sum("queued") == 1)
    both_wait.set()
    assert one.response().body == b"one" + b"1" * rest
    assert two.response().body == b"two"
    assert daemon.sum("upconns") <= 1
