# SPDX-License-Identifier: MIT
"""`protocol: auto`: each backend says what it speaks (ALPN)."""
import ssl
import subprocess
import threading

import pytest

from backends import answer_all
from certs import Authority
from h2peer import H2Server
from wire import request, wait_for


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("auto"))


@pytest.fixture(scope="module")
def site(ca):
    return ca.issue("site", ["IP:127.0.0.1"])


class Backend:
    """Speaks what `protocols` says, and notes what the handshakes came to."""

    def __init__(self, pair, *protocols):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(pair.pem, pair.key)
        self.speak(*protocols)
        self.chosen, self.upgrades = [], 0

    def speak(self, *protocols):
        self.context.set_alpn_protocols(protocols)

    def __call__(self, peer):
        try:
            peer.sock = self.context.wrap_socket(peer.sock, server_side=True)
        except (ssl.SSLError, OSError):
            return
        chosen = peer.sock.selected_alpn_protocol()
        self.chosen.append(chosen)
        if chosen == "h2":
            self.serve_h2(peer)
        else:
            self.serve_http1(peer)

    def serve_h2(self, peer):
        server = H2Server(peer)
        for stream, _ in server.requests():
            server.answer(stream, b"h2")

    def serve_http1(self, peer):
        while msg := peer.request():
            if msg.get("upgrade"):
                self.upgrades += 1
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                          f"Upgrade: {msg.get('upgrade')}\r\n\r\n")
                while peer.buf or peer.fill():
                    peer.send(peer.take(len(peer.buf)))
                return
            peer.respond(body=b"http1")


@pytest.fixture
def auto(weir, scripted, ca):
    """auto(backend, ...) -> a daemon with one worker"""
    def start(*backends, **pool):
        servers = [scripted(each) for each in backends]
        daemon = weir([each.address for each in servers], workers=1,
                      pool={"protocol": "auto", "tls": {"ca": str(ca.pem)}, **pool})
        daemon.servers = servers
        return daemon
    return start


@pytest.mark.parametrize("protocols, spoken", [
    (("h2", "http/1.1"), b"h2"), (("h2",), b"h2"), (("http/1.1",), b"http1"), ((), b"http1")])
def test_the_backend_chooses(auto, site, protocols, spoken):
    backend = Backend(site, *protocols)
    daemon = auto(backend)
    for i in range(5):
        got = daemon.ask("POST", f"/{i}", body=b"x" * 5000)
        assert (got.status, got.body) == (200, spoken)
    assert daemon.servers[0].connections == 1, "the first one serves, whatever it speaks"
    daemon.assert_idle()


@pytest.mark.parametrize("protocols, spoken", [(("h2",), b"h2"), (("http/1.1",), b"http1")])
def test_many_at_once_on_a_backend_not_known_yet(auto, site, protocols, spoken):
    daemon = auto(Backend(site, *protocols))
    answers, start = [], threading.Barrier(30)

    def ask():
        start.wait(30)
        answers.append(daemon.ask("POST", body=b"y").body)
    threads = [threading.Thread(target=ask) for _ in range(30)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert answers == [spoken] * 30
    daemon.assert_idle()


def test_a_backend_changes_its_mind(auto, site):
    """What is open is used on; a new connection may turn out to be another one."""
    backend = Backend(site, "http/1.1")
    daemon = auto(backend, keepalive={"requests": 1})
    row = []
    for protocols in (["http/1.1"], ["h2"], ["h2", "http/1.1"], [], ["h2"], ["http/1.1"]):
        backend.speak(*protocols)
        for _ in range(2):
            got = daemon.ask("POST", body=b"z")
            assert got.status == 200
            row.append(got.body)
    assert row == [b"http1"] * 2 + [b"h2"] * 4 + [b"http1"] * 2 + [b"h2"] * 2 + [b"http1"] * 2
    assert daemon.servers[0].connections == len(row)
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"] == {"ok": len(row)})
    daemon.assert_idle()


def test_an_upgrade_asks_for_http1(auto, site):
    backend = Backend(site, "h2", "http/1.1")
    daemon = auto(backend)
    for known in (False, True):
        with daemon.connect() as client:
            client.send(request(headers=[("Connection", "Upgrade"), ("Upgrade", "echo")]))
            assert client.response_head().status == 101
            client.send(b"there and back")
            got = []
            client.exactly(14, got.append)
            assert b"".join(got) == b"there and back"
        assert daemon.ask().body == b"h2", known
    assert backend.upgrades == 2


def test_one_backend_each(auto, site):
    daemon = auto(Backend(site, "h2"), Backend(site, "http/1.1"), balance="round-robin")
    assert {daemon.ask().body for _ in range(10)} == {b"h2", b"http1"}


def test_no_common_protocol(weir, scripted, ca, site):
    """`h2` takes nothing else."""
    server = scripted(Backend(site, "http/1.1"))
    plain = scripted(answer_all)
    daemon = weir([server.address], pool={"protocol": "h2", "tls": {"ca": str(ca.pem)}})
    assert daemon.ask().status == 502
    row, = daemon.backends().values()
    assert row["tls_error"]
    assert plain.connections == 0


def test_a_client_that_leaves_during_the_handshake(auto, site):
    """Nobody waits for the connection any more when it turns out to be HTTP/1."""
    release = threading.Event()
    backend = Backend(site, "http/1.1")
    serve = backend.__call__

    def slow(peer):
        release.wait(30)
        serve(peer)
    daemon = auto(slow)
    with daemon.connect() as client:
        client.send(request())
        wait_for(lambda: daemon.servers[0].connections == 1)
        client.reset()
    wait_for(lambda: daemon.admin.get("/v1/status")["outcomes"])
    release.set()
    assert daemon.ask().body == b"http1"
    daemon.assert_idle()


def test_configuration(weir, scripted):
    daemon = weir([scripted().address])

    def tested():
        daemon.write(daemon.conf)
        return subprocess.run([daemon.child.args[0], "-t", "-c", str(daemon.conf_path)],
                              capture_output=True, text=True, timeout=30, check=False)
    daemon.conf["pools"]["app"].update(protocol="auto", send_proxy="v2")
    said = tested()
    assert said.returncode == 1
    assert ": error: send_proxy needs protocol: http1" in said.stderr
    del daemon.conf["pools"]["app"]["send_proxy"]
    said = tested()
    assert said.returncode == 0
    assert "warning: without 'tls' nothing is negotiated" in said.stderr
