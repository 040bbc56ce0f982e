# SPDX-License-Identifier: MIT
"""Where members come from: dnsmasq and etcd as they are in Debian, Consul and Kubernetes played."""
import base64
import json
import queue
import shutil
import signal
import socket
import struct
import subprocess
import threading
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from backends import Process, free_port
from wire import wait_for


class Dnsmasq(Process):
    """dnsmasq on a port of its own; the records are written by the test."""

    def __init__(self, folder):
        self.port = free_port()
        self.hosts = folder / "dns-hosts"
        self.conf = folder / "dnsmasq.conf"
        self.hosts.write_text("")
        self.lines = []
        self.folder = folder
        self.child = None
        self.begin()

    def begin(self):
        self.conf.write_text("\n".join([
            f"port={self.port}", "listen-address=127.0.0.1", "bind-interfaces", "no-resolv",
            "no-hosts", f"addn-hosts={self.hosts}", "local=/test/", "local-ttl=1", "user=",
            *self.lines, ""]))
        program = shutil.which("dnsmasq") or "/usr/sbin/dnsmasq"
        super().__init__([program, "--keep-in-foreground", "-C", str(self.conf)], self.folder,
                         "dnsmasq")
        self.wait_ready(self.answers)

    def answers(self):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def say(self, names):
        """{name: [addresses]}"""
        self.hosts.write_text("".join(f"{a} {name}\n" for name, all_ in names.items()
                                      for a in all_))
        self.kill(signal.SIGHUP)

    def again(self, *lines):
        """With other lines in its configuration."""
        self.stop()
        self.lines = list(lines)
        self.begin()


class Etcd(Process):
    """etcd, spoken to by its JSON gateway."""

    def __init__(self, folder):
        self.port, peer = free_port(), free_port()
        url, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self.url = url
        super().__init__([shutil.which("etcd"), "--data-dir", str(folder / "etcd"),
                          "--listen-client-urls", url, "--advertise-client-urls", url,
                          "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                          "--initial-cluster", f"default={peer}"], folder, "etcd")
        self.wait_ready(self.answers)

    def call(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def answers(self):
        try:
            return self.call("/v3/kv/range", {"key": "AA=="}) is not None
        except OSError:
            return False

    @staticmethod
    def b64(text):
        return base64.b64encode(text.encode()).decode()

    def put(self, key, value):
        value = value if isinstance(value, str) else json.dumps(value)
        return self.call("/v3/kv/put", {"key": self.b64(key), "value": self.b64(value)})

    def delete(self, key):
        self.call("/v3/kv/deleterange", {"key": self.b64(key)})

    def compact(self):
        revision = self.call("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self.call("/v3/kv/compaction", {"revision": revision})


class Fake:
    """An HTTP/1.1 server of the test; subclasses answer by get(handler, path, query)."""

    def __init__(self, tls=None):
        fake = self
        self.asked = []  # (path, query, headers)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                fake.asked.append((url.path, query, dict(self.headers)))
                try:
                    fake.get(self, url.path, query)
                except OSError:
                    self.close_connection = True

            def json(self, value, status=200, headers=()):
                body = json.dumps(value).encode()
                self.send_response(status)
                for name, text in headers:
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a peer that left, or that does not trust us

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def chunk(handler, data):
    handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def begin_chunks(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


def reset(handler):
    """The connection ends by RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    raise ConnectionResetError


class Consul(Fake):
    """Blocking queries as Consul has them: an index, a wait, an answer when it moves."""

    def __init__(self, tls=None):
        self.instances, self.index, self.fails = [], 10, False
        self.hook = None  # hook(handler, query): it answers itself, and returns true
        self.changed = threading.Condition()
        super().__init__(tls)

    def say(self, instances, index=None):
        """[(id, ip, port, weight)]"""
        with self.changed:
            self.instances = instances
            self.index = self.index + 1 if index is None else index
            self.changed.notify_all()

    def get(self, handler, path, query):
        assert path.startswith("/v1/health/service/"), path
        if self.hook and self.hook(handler, query):
            return
        with self.changed:
            seen = int(query.get("index", 0))
            self.changed.wait_for(lambda: self.index != seen or self.fails, timeout=20)
            if self.fails:
                handler.json({"error": "no leader"}, 500)
                return
            rows = [{"Node": {"Address": "127.0.0.9"},
                     "Service": {"ID": name, "Address": ip, "Port": port,
                                 "Weights": {"Passing": weight, "Warning": 1}}}
                    for name, ip, port, weight in self.instances]
            index = self.index
        handler.json(rows, headers=[("X-Consul-Index", str(index))])


class Kubernetes(Fake):
    """EndpointSlices: pages of a list, a watch from a resourceVersion, bookmarks, 410."""

    def __init__(self, tls=None, token="first"):
        self.slices, self.version, self.oldest, self.token = {}, 100, 0, token
        self.history = []  # (version, event)
        self.watches, self.lock = [], threading.Lock()
        self.page = 1  # slices in a page of a list
        self.hook = None  # hook(handler, query): it answers itself, and returns true
        super().__init__(tls)

    @staticmethod
    def slice(name, endpoints, port=8000, version=0):
        """endpoints: [(ip, {conditions})]"""
        return {"metadata": {"name": name, "resourceVersion": str(version)}, "addressType": "IPv4",
                "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [ip], "conditions": conditions,
                               "targetRef": {"kind": "Pod", "name": f"pod-{ip}"}}
                              for ip, conditions in endpoints]}

    def _event(self, kind, obj):
        event = {"type": kind, "object": obj}
        self.history.append((self.version, event))
        for watch in self.watches:
            watch.put(event)

    def put(self, name, endpoints, port=8000):
        with self.lock:
            self.version += 1
            kind = "MODIFIED" if name in self.slices else "ADDED"
            self.slices[name] = self.slice(name, endpoints, port, self.version)
            self._event(kind, self.slices[name])

    def delete(self, name):
        with self.lock:
            self.version += 1
            gone = self.slices.pop(name)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._event("DELETED", gone)

    def bookmark(self):
        with self.lock:
            self.version += 1
            self._event("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def compact(self):
        """What was before is forgotten; who watches is cut, and finds 410 if he comes from there."""
        with self.lock:
            self.version += 10
            self.oldest = self.version
            self.history = []
            for watch in self.watches:
                watch.put(None)

    def cut(self):
        with self.lock:
            for watch in self.watches:
                watch.put(None)

    def get(self, handler, path, query):
        if handler.headers.get("Authorization") != f"Bearer {self.token}":
            handler.json({"kind": "Status", "code": 401, "message": "Unauthorized"}, 401)
        elif self.hook and self.hook(handler, query):
            pass
        elif query.get("watch"):
            self.watch(handler, int(query["resourceVersion"]))
        else:
            self.list(handler, query)

    def list(self, handler, query):
        with self.lock:
            names = sorted(self.slices)
            at = int(query.get("continue", "0"))
            more = at + self.page < len(names)
            items = [self.slices[name] for name in names[at:at + self.page]]
            meta = {"resourceVersion": str(self.version)}
            if more:
                meta["continue"] = str(at + self.page)
        handler.json({"kind": "EndpointSliceList", "metadata": meta, "items": items})

    def watch(self, handler, since):
        mine = queue.Queue()
        with self.lock:
            stale = since < self.oldest
            for version, event in self.history:
                if version > since:
                    mine.put(event)
            self.watches.append(mine)
        begin_chunks(handler)
        if stale:
            mine.put({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Gone"}})
        while (event := mine.get()) is not None:
            line = json.dumps(event).encode() + b"\n"
            for half in (line[:len(line) // 2], line[len(line) // 2:]):  # a line in two chunks
                chunk(handler, half)
        with self.lock:
            self.watches.remove(mine)
        handler.wfile.write(b"0\r\n\r\n")


def members(daemon, pool="app"):
    """{name: (state, weight, priority)} of all sources of a pool."""
    return {m["name"]: (m["state"], m["weight"], m["priority"])
            for s in daemon.admin.get("/v1/sources")["sources"] if s["pool"] == pool
            for m in s["members"]}


def source(daemon, pool="app"):
    return next(s for s in daemon.admin.get("/v1/sources")["sources"] if s["pool"] == pool)


def until_members(daemon, names, pool="app", what=""):
    """Exactly these take part, in the source and in the pool."""
    names = set(names)
    wait_for(lambda: set(members(daemon, pool)) == names and set(daemon.backends(pool)) == names,
             15, f"members {sorted(names)} {what}")


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout
