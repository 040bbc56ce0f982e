# SPDX-License-Identifier: MIT
"""Other clients of the same authority, lego and certbot: they get what weir gets, weir serves what
they get, and passes the authority's questions on to them."""
import functools
import os
import shutil
import ssl
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from backends import free_port
from certs import openssl
from test_acme import Site, pebble  # noqa: F401
from wire import wait_for

NAMES = ["a.example", "www.a.example"]
WITHIN = 60


def blocks(path):
    """The certificates of a file, in PEM."""
    begin = "-----BEGIN CERTIFICATE-----"
    return [begin + part.partition("-----END")[0] + "-----END CERTIFICATE-----\n"
            for part in path.read_text().split(begin)[1:]]


def shown(pem, *what):
    return subprocess.run(["openssl", "x509", "-noout", *what], input=pem, text=True,
                          capture_output=True, check=True).stdout


def facts(path):
    """What two clients of an authority should agree on."""
    chain = blocks(path)
    text = shown(chain[0], "-text")
    links = [(shown(a, "-issuer", "-nameopt", "RFC2253").partition("=")[2],
              shown(b, "-subject", "-nameopt", "RFC2253").partition("=")[2])
             for a, b in zip(chain, chain[1:])]
    assert all(a == b for a, b in links), links
    names = next(line for line in text.splitlines() if "DNS:" in line)
    usage = text.partition("Key Usage")[2].splitlines()[1].strip()
    return {"names": sorted(names.strip().split(", ")), "chain": len(chain), "usage": usage,
            "issuers": [shown(each, "-issuer") for each in chain],
            "key": "prime256v1" in text, "signature": "ecdsa" in text}


def fits(path, key):
    """Whether the key is that of the certificate."""
    return openssl("pkey", "-in", key, "-pubout") == openssl("x509", "-in", path, "-noout", "-pubkey")


class Client:
    """Runs a client against the site's authority; the authority asks at weir's ports."""

    def __init__(self, site, folder):
        self.site, self.folder, self.port = site, folder, free_port()
        self.pebble = site.pebble
        folder.mkdir()

    def run(self, argv, env):
        done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done


class Lego(Client):
    def call(self, *args):
        names = [word for name in NAMES for word in ("-d", name)]
        return self.run(
            ["lego", "--server", self.pebble.url, "--email", "lego@example.com", "--accept-tos",
             "--path", str(self.folder), "--http", "--http.port", f"127.0.0.1:{self.port}", *names,
             *args], {"LEGO_CA_CERTIFICATES": str(self.pebble.ca.pem)})

    def get(self):
        self.call("run")

    def renew(self):
        self.call("renew", "--days", "99999", "--no-random-sleep")

    @property
    def live(self):
        return self.folder / "certificates"

    @property
    def pair(self):
        return self.live / f"{NAMES[0]}.crt", self.live / f"{NAMES[0]}.key"


class Certbot(Client):
    way = ["--standalone"]

    def call(self, command, *args):
        return self.run(
            ["certbot", command, "--server", self.pebble.url, "--non-interactive",
             *(f"--{kind}-dir={self.folder}/{kind}" for kind in ("config", "work", "logs")), *args],
            {"REQUESTS_CA_BUNDLE": str(self.pebble.ca.pem)})

    def order(self, *args):
        self.call("certonly", "--agree-tos", "-m", "certbot@example.com", "--key-type", "ecdsa",
                  "--http-01-address", "127.0.0.1", "--http-01-port", str(self.port),
                  *self.way, *(word for name in NAMES for word in ("-d", name)), *args)

    def get(self):
        self.order()

    def renew(self):
        self.order("--force-renewal")

    @property
    def live(self):
        return self.folder / "config/live" / NAMES[0]

    @property
    def pair(self):
        return self.live / "fullchain.pem", self.live / "privkey.pem"


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Webroot(Certbot):
    """Its answers are files that another server has."""

    def __init__(self, site, folder):
        super().__init__(site, folder)
        root = folder / "root"
        root.mkdir()
        self.way = ["--webroot", "-w", str(root)]
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port),
                                          functools.partial(Files, directory=str(root)))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site(weir, scripted, pebble):  # noqa: F811
    return Site(weir, scripted, pebble, names=NAMES)


def passes_on(site, client):
    """Weir does not speak ACME any more: a route has the questions, a directory the certificates."""
    conf = {k: v for k, v in site.daemon.conf.items() if k != "acme"}
    challenge = {"match": {"path": "/.well-known/acme-challenge/"}, "pool": "client"}
    conf["routes"] = [challenge, *conf["routes"]]
    conf["pools"] = {**conf["pools"], "client": {"backends": [f"127.0.0.1:{client.port}"]}}
    secure, plain = conf["listeners"]
    secure = {**secure, "tls": {"certificates": [
        {"directory": str(client.live)} if client.live.exists() else
        {"cert": str(site.pem), "key": str(site.pem)}]}}
    conf["listeners"] = [secure, plain]
    site.daemon.reload(conf)


def serves(site, client):
    return ssl.DER_cert_to_PEM_cert(site.served()).strip() == blocks(client.pair[0])[0].strip()


@pytest.mark.parametrize("kind", [Lego, Certbot, Webroot])
def test_a_client_beside_weir(site, tmp_path, kind):
    site.start()
    site.becomes_trusted()
    ours, client = facts(site.pem), kind(site, tmp_path / "client")
    passes_on(site, client)
    client.get()
    assert facts(client.pair[0]) == ours and ours["chain"] == 2
    assert fits(*client.pair) and fits(site.pem, site.pem)
    passes_on(site, client)
    wait_for(lambda: serves(site, client), WITHIN, "its certificate is served")
    row, = site.daemon.admin.get("/v1/certificates")["certificates"]
    assert sorted(f"DNS:{name}" for name in row["names"]) == ours["names"]
    client.renew()
    wait_for(lambda: serves(site, client) and site.trusted(), WITHIN, "the next one is served")
    assert not [p for p in site.daemon.admin.get("/v1/status")["problems"] if "certificate" in p]


def test_what_weir_serves_is_what_it_got(site):
    """The chain as well, in the order in which each is the issuer of the one before."""
    site.start()
    site.becomes_trusted()
    sent = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{site.secure}", "-servername",
                           NAMES[0], "-showcerts"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=True, timeout=30).stdout
    (site.pebble.folder / "sent.pem").write_text(sent)
    assert blocks(site.pebble.folder / "sent.pem") == blocks(site.pem)


def test_another_client_revokes_what_weir_ordered(site, tmp_path):
    """With the certificate's key: whose account it was does not matter, and weir goes on."""
    site.start()
    site.becomes_trusted()
    pem, key = tmp_path / "weir.pem", tmp_path / "weir.key"
    shutil.copy(site.pem, pem)
    key.write_text(openssl("pkey", "-in", site.pem))
    Certbot(site, tmp_path / "client").call("revoke", "--cert-path", str(pem), "--key-path",
                                            str(key), "--no-delete-after-revoke")
    serial = openssl("x509", "-in", pem, "-noout", "-serial").strip().partition("=")[2]
    assert b"Revoked" in site.pebble.ask(f"cert-status-by-serial/{serial.lower()}")
    assert site.trusted() and not site.problems()
