# SPDX-License-Identifier: MIT
"""TLS towards backends: who is trusted, what is resumed, what is cut."""
import re
import socket
import ssl

import pytest

from backends import answer_all, pattern
from test_tls import TlsClient, ca, site, tls_listener  # noqa: F401, pylint: disable=unused-import
from wire import request, wait_for


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
