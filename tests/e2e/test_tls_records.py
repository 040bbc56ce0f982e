# SPDX-License-Identifier: MIT
"""Records of TLS 1.3 after the handshake: cut, joined, padded, altered, with other keys."""
import ssl
import subprocess

import pytest

from backends import pattern
from certs import Authority
from wire import SLOW, TIMEOUT, connect_socket, request, wait_for

HEAD = 5


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def site(ca):
    return ca.issue("site", ["a.example"])


@pytest.fixture
def daemon(weir, app, site):
    return weir(app().addresses, workers=1, listener={"tls": {"certificates": [site.conf]}})


class RawTls:
    """A client that has its records in hand: `seal` makes them, `sock` carries them."""

    def __init__(self, port, ca):
        context = ssl.create_default_context(cafile=str(ca.pem))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.sock = connect_socket(port)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a.example")
        while not self._shaken():
            self.sock.sendall(self.outgoing.read())
            self.incoming.write(self.sock.recv(65536))
        self.rest = self.outgoing.read()  # our Finished: the first bytes to send

    def _shaken(self):
        try:
            self.tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False

    def seal(self, data):
        self.tls.write(data)
        records, self.rest = self.rest + self.outgoing.read(), b""
        return records

    def read(self):
        """Some plain bytes; b"" at the end announced, None at one that was not."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                got = self.sock.recv(65536)
                if not got:
                    return None
                self.incoming.write(got)

    def response(self):
        """Reads one response whole; its status and body."""
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.read()
        head, body = got.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields[b"content-length"]):
            body += self.read()
        return int(head.split()[1]), body

    def close(self):
        self.sock.close()


@pytest.fixture
def client(daemon, ca):
    client = RawTls(daemon.port, ca)
    yield client
    client.close()


@pytest.mark.parametrize("piece", [1, 3, 7])
def test_cut_anywhere(client, piece):
    for _ in range(2):
        records = client.seal(request())
        for i in range(0, len(records), piece):
            client.sock.sendall(records[i:i + piece])
        assert client.response()[0] == 200


def test_many_in_one_piece(client):
    one = request()
    records = b"".join(client.seal(one[i:i + 1]) for i in range(len(one)))
    client.sock.sendall(records + client.seal(one))
    assert [client.response()[0] for _ in range(2)] == [200, 200]


def test_large_upload_and_download(weir, scripted, ca, site):
    body = pattern(300_000)

    def handler(peer):
        while req := peer.request():
            peer.respond(body=req.body)
    daemon = weir([scripted(handler).address], workers=1,
                  listener={"tls": {"certificates": [site.conf]}})
    client = RawTls(daemon.port, ca)
    client.sock.sendall(client.seal(request("POST", body=body)))
    status, got = client.response()
    assert status == 200 and got == body
    client.close()


@pytest.mark.parametrize("at", [0, 1, HEAD, HEAD + 9, -1])
def test_altered(daemon, client, at):
    """Alert, end, and nothing of it reaches a backend."""
    client.sock.sendall(client.seal(request()))
    assert client.response()[0] == 200
    before = daemon.sum("requests")
    records = bytearray(client.seal(request()))
    records[at] ^= 0x40
    client.sock.sendall(bytes(records))
    with pytest.raises(ssl.SSLError, match="alert|ALERT"):
        while client.read():
            pass
    assert daemon.sum("requests") == before
    daemon.assert_idle()


def test_repeated_or_left_out(daemon, ca):
    for make in (lambda one, two: one + one, lambda one, two: two):
        client = RawTls(daemon.port, ca)
        client.sock.sendall(client.seal(request()))
        assert client.response()[0] == 200
        one, two = client.seal(request()), client.seal(request())
        client.sock.sendall(make(one, two))
        with pytest.raises(ssl.SSLError, match="alert|ALERT"):
            while client.read():
                pass
        client.close()


def test_plaintext_is_refused(daemon, client):
    client.sock.sendall(client.seal(request()))
    assert client.response()[0] == 200
    alert = b"\x15\x03\x03\x00\x02\x02\x28" + bytes(30)
    client.sock.sendall(alert)
    with pytest.raises(ssl.SSLError, match="alert|ALERT"):
        while client.read():
            pass
    daemon.assert_idle()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_clients_of_small_records(weir, scripted, ca, site, version):
    """max_fragment_length (RFC 6066 4): openssl refuses a longer record."""
    body = pattern(20_000)

    def handler(peer):
        while req := peer.request():
            peer.respond(body=req.body)
    daemon = weir([scripted(handler).address], listener={"tls": {"certificates": [site.conf]}})
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", version, "-quiet",
         "-maxfraglen", "512", "-servername", "a.example", "-CAfile", str(ca.pem)],
        input=request("POST", body=body, headers=[("Connection", "close")]),
        capture_output=True, timeout=20 * SLOW, check=False)
    head, _, got = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and got == body, (done.stderr, len(got))


def test_end_is_answered(daemon, client):
    client.sock.sendall(client.seal(request()))
    assert client.response()[0] == 200
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.unwrap()  # close_notify
    client.sock.sendall(client.outgoing.read())
    assert client.read() == b""  # announced, not only cut
    daemon.assert_idle()


def test_key_updates(daemon, ca, tmp_path):
    """openssl's client updates its key and asks for another of ours (K), or does not (k)."""
    said = tmp_path / "said"
    with said.open("wb") as out:
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", "-tls1_3",
             "-servername", "a.example", "-CAfile", str(ca.pem)],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, bufsize=0)
    try:
        # a command counts only at the start of what the client reads in one go
        for n, command in enumerate([b"K", b"k", b"K", b"K"], 1):
            client.stdin.write(command + b"\n")
            wait_for(lambda n=n: said.read_bytes().count(b"KEYUPDATE") == n)
            client.stdin.write(request("HEAD"))
            wait_for(lambda n=n: said.read_bytes().count(b"HTTP/1.1 200") == n)
    finally:
        client.kill()
        client.communicate(timeout=TIMEOUT)
    assert daemon.sum("requests") == 4
