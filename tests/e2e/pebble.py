# SPDX-License-Identifier: MIT
"""A certificate's authority that speaks ACME: Debian's pebble, and names that lead to this machine."""
import http.client
import json
import shutil
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backends import Process, free_port
from certs import Authority
from wire import PATIENCE


class Names(Process):
    """pebble-challtestsrv: a DNS server for which every name is 127.0.0.1."""

    def __init__(self, folder):
        self.dns, self.management = free_port(), free_port()
        super().__init__([shutil.which("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1",
                          "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns}",
                          "-http01", "", "-https01", "", "-tlsalpn01", "",
                          "-management", f"127.0.0.1:{self.management}"], folder, "names")
        self.wait_ready(lambda: self.call("add-a", {"host": "x.test", "addresses": ["127.0.0.1"]}))

    def call(self, what, body):
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.management}/{what}",
                                             json.dumps(body).encode())
            return urllib.request.urlopen(request, timeout=5).status == 200
        except OSError:
            return False


class Pebble(Process):
    """pebble, whose own certificate is from `ca`; what it signs is to be trusted by `root`."""

    def __init__(self, folder, http_port, tls_port=1, reject=0, sleep=0, eab=None, **conf):
        self.folder = folder
        self.names = Names(folder)
        self.ca = Authority(folder, "pebble-ca")
        self.port, self.management = free_port(), free_port()
        pair = self.ca.issue("pebble-api", ["localhost", "IP:127.0.0.1"])
        self.conf_path = folder / "pebble.json"
        self.conf_path.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(pair.pem), "privateKey": str(pair.key),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab), "externalAccountMACKeys": eab or {},
            **conf}}))
        # 0 is one in a hundred: an order for a name that its account has proved before may need
        # no challenge
        self.settings = {
            "PEBBLE_WFE_NONCEREJECT": str(reject), "PEBBLE_AUTHZREUSE": "0",
            **({"PEBBLE_VA_SLEEPTIME": str(sleep)} if sleep else {"PEBBLE_VA_NOSLEEP": "1"})}
        self.child = None
        self.begin()

    def begin(self):
        super().__init__([shutil.which("pebble"), "-config", str(self.conf_path), "-dnsserver",
                          f"127.0.0.1:{self.names.dns}"], self.folder, "pebble", env=self.settings)
        self.wait_ready(self.answers, 4 * PATIENCE)  # it makes RSA keys first
        (self.folder / "pebble-root.pem").write_bytes(self.ask("roots/0"))

    def ask(self, path):
        trust = ssl.create_default_context(cafile=str(self.ca.pem))
        return urllib.request.urlopen(f"https://127.0.0.1:{self.management}/{path}", timeout=5,
                                      context=trust).read()

    def answers(self):
        try:
            return bool(self.ask("roots/0"))
        except OSError:
            return False

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def root(self):
        return self.folder / "pebble-root.pem"

    def acme(self, **more):
        """The section for weir.yaml."""
        return {"directory": self.url, "email": "ops@example.com", "agree": True,
                "state": str(self.folder / "acme"), "ca": str(self.ca.pem), **more}

    def again(self):
        """Forgets all, accounts too, and has other roots."""
        self.stop()
        self.begin()

    def stop_all(self):
        self.stop()
        self.names.stop()


STEPS = {"/dir": "directory", "/nonce-plz": "nonce", "/sign-me-up": "account",
         "/order-plz": "place", "/authZ/": "authorization", "/chalZ/": "challenge",
         "/finalize-order/": "finalize", "/my-order/": "issue", "/certZ/": "download"}


class Meddler(ThreadingHTTPServer):
    """Stands before a pebble and may do something to each request: before(step, path) and
    after(step, path, status, headers, body), which may return (status, headers, body)."""

    daemon_threads = True

    def __init__(self, pebble, before=None, after=None):
        self.pebble, self.before, self.after = pebble, before, after
        self.steps = []
        super().__init__(("127.0.0.1", free_port()), MeddlerHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pebble.folder / "pebble-api.pem", pebble.folder / "pebble-api.key")
        self.socket = context.wrap_socket(self.socket, server_side=True,
                                          do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def base(self):
        return f"https://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # weir was killed, or does not wait any longer

    def close(self):
        self.shutdown()
        self.server_close()


class MeddlerHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self, body):
        pebble = self.server.pebble
        trust = ssl.create_default_context(cafile=str(pebble.ca.pem))
        up = http.client.HTTPSConnection("127.0.0.1", pebble.port, context=trust, timeout=20)
        kept = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        up.request(self.command, self.path, body, kept)
        answer = up.getresponse()
        headers = {k: v for k, v in answer.getheaders()
                   if k.lower() not in ("transfer-encoding", "content-length", "connection")}
        return answer.status, headers, answer.read()

    def do_GET(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        step = next((v for k, v in STEPS.items() if self.path.startswith(k)), self.path)
        server.steps.append(step)
        found = server.before(step, self.path) if server.before else None
        if not found:
            found = self.forward(body)
            if server.after:
                found = server.after(step, self.path, *found) or found
        status, headers, body = found
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
        else:  # as long as somebody reads
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        for piece in [body] if isinstance(body, bytes) else body:
            self.wfile.write(piece)

    do_POST = do_GET

