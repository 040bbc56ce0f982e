# SPDX-License-Identifier: MIT
"""Backends: weir-app, node, gunicorn, nginx, and ones scripted by the test."""
import functools
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from wire import PATIENCE, SLOW, TIMEOUT, Client, Peer, wait_for

SOURCE = Path(__file__).resolve().parents[2]
APPS = SOURCE / "tests" / "apps"

# The bytes that all sample apps serve; see tests/apps/pattern.h.
PERIOD = 1048573
PATTERN = b"".join(hashlib.sha256(i.to_bytes(8, "big")).digest()
                   for i in range(PERIOD // 32 + 1))[:PERIOD]


def pattern(size):
    return (PATTERN * (size // PERIOD + 1))[:size]


@functools.lru_cache
def pattern_sha256(size):
    digest = hashlib.sha256()
    for _ in range(size // PERIOD):
        digest.update(PATTERN)
    digest.update(PATTERN[:size % PERIOD])
    return digest.hexdigest()


def build_dir():
    return Path(os.environ.get("WEIR_BUILD", SOURCE / "build")).resolve()


def binary(name):
    path = build_dir() / "bin" / name
    assert path.exists(), f"{path} is not there: build it, or set WEIR_BUILD"
    return str(path)


# Each worker of pytest-xdist takes its ports from a range of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
PORTS = 20000 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_ports_given = set()


def free_port(kind=socket.AF_INET):
    """A port nobody listens on, below the range that outgoing connections use."""
    host = "::1" if kind == socket.AF_INET6 else "127.0.0.1"
    for _ in range(1000):
        port = 10000 + WORKER * PORTS + int.from_bytes(os.urandom(4), "big") % PORTS
        if port in _ports_given:
            continue
        with socket.socket(kind, socket.SOCK_STREAM) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                continue
        _ports_given.add(port)
        return port
    raise AssertionError("no free port")


class Process:
    """A child with its output in files, ended by its own pid."""

    def __init__(self, argv, folder, name, env=None, **kwargs):
        self.name = name
        self.out_path = Path(folder) / f"{name}.out"
        self.err_path = Path(folder) / f"{name}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                          env={**os.environ, **(env or {})}, **kwargs)
        self.pid = self.child.pid

    @property
    def stdout(self):
        return self.out_path.read_text(errors="replace")

    @property
    def stderr(self):
        return self.err_path.read_text(errors="replace")

    def says(self, text):
        """Waits for it on stderr: lines are written by a thread of their own."""
        wait_for(lambda: text in self.stderr, what=text)

    def alive(self):
        return self.child.poll() is None

    def wait_ready(self, condition, timeout=PATIENCE):
        def ready():
            assert self.alive(), f"{self.name} ended with {self.child.returncode}:\n{self.stderr}"
            return condition()
        return wait_for(ready, timeout, f"{self.name} is ready; it said:\n{self.stderr}")

    def kill(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=PATIENCE):
        return self.child.wait(timeout * SLOW)

    def stop(self, number=signal.SIGTERM, timeout=10):
        if self.alive():
            self.kill(number)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def can_connect(address):
    try:
        Client(address, timeout=1).close()
        return True
    except OSError:
        return False


def kept_json(process):
    lines = process.stdout.splitlines()
    return json.loads(lines[0]) if lines else None


class App(Process):
    """weir-app; instances are numbered from 0."""

    def __init__(self, folder, instances=1, defaults="", overrides=(), name="app", options=()):
        argv = [binary("weir-app"), "--listen", "127.0.0.1:0", "--instances", str(instances),
                "--name", name, *options]
        if defaults:
            argv += ["--set", defaults]
        for override in overrides:
            argv += ["--instance", override]
        super().__init__(argv, folder, f"weir-app-{name}")
        self.ports = self.wait_ready(lambda: kept_json(self))["ports"]
        self.addresses = [f"127.0.0.1:{port}" for port in self.ports]

    def control(self, path, i=0):
        with Client(self.ports[i]) as client:
            response = client.ask(target=path, headers=[("Connection", "close")])
        assert response.status == 200, response
        return response.json()

    def stats(self, i=0):
        return self.control("/_stats", i)

    def all_stats(self):
        return [self.stats(i) for i in range(len(self.ports))]

    def total(self, key):
        return sum(stats[key] for stats in self.all_stats())

    def reset(self):
        for i in range(len(self.ports)):
            self.control("/_reset", i)

    def go(self):
        """What hangs is answered."""
        for i in range(len(self.ports)):
            self.control("/_go", i)

    def set(self, i=0, **values):
        self.control("/_set?" + "&".join(f"{k}={v}" for k, v in values.items()), i)


class Node(Process):
    def __init__(self, folder, root, name="node", options=()):
        super().__init__(["node", str(APPS / "node_app.js"), "--root", str(root), "--name", name,
                          *options], folder, name)
        self.port = self.wait_ready(lambda: kept_json(self))["ports"][0]
        self.address = f"127.0.0.1:{self.port}"


class RedisApp(Process):
    """redis_app.js, whose requests need a lock in a Redis of its own."""

    def __init__(self, folder, *options):
        port = free_port()
        self.redis = Process(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                              "--dir", str(folder)], folder, "redis")
        self.redis.wait_ready(lambda: can_connect(port))
        super().__init__(["node", str(APPS / "redis_app.js"), "--redis", str(port), *options], folder,
                         "redis_app")
        self.port = self.wait_ready(lambda: kept_json(self))["ports"][0]

    def stop(self):
        super().stop()
        self.redis.stop()


class Gunicorn(Process):
    def __init__(self, folder, root):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        super().__init__(["gunicorn", "--chdir", str(APPS), "-b", self.address, "-k", "gthread",
                          "--threads", "8", "--keep-alive", "30", "--worker-tmp-dir", "/dev/shm",
                          "wsgi_app:app"], folder, "gunicorn",
                         env={"WSGI_APP_ROOT": str(root), "PYTHONDONTWRITEBYTECODE": "1"})
        self.wait_ready(lambda: can_connect(self.port))


class Nginx(Process):
    """Static files out of `root`."""

    def __init__(self, folder, root):
        folder = Path(folder) / "nginx"
        folder.mkdir()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        conf = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        conf.write_text(f"""
            daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
            events {{ worker_connections 256; }}
            http {{
                access_log off;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
                server {{ listen {self.address}; root {root}; }}
            }}""")
        super().__init__([shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(conf), "-e",
                          f"{folder}/error.log"], folder, "nginx")
        self.wait_ready(lambda: can_connect(self.port))


class FileServer(Process):
    """python3 -m http.server: HTTP/1.0, closes after each answer."""

    def __init__(self, folder, root):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        super().__init__(["/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "-d",
                          str(root), str(self.port)], folder, "http.server")
        self.wait_ready(lambda: can_connect(self.port))


def answer_all(peer):
    """The ordinary backend: 200 to everything."""
    while peer.request():
        peer.respond()


class Scripted:
    """A backend whose connections are each run by `handler(peer)` in a thread."""

    def __init__(self, handler=answer_all, address=("127.0.0.1", 0), backlog=128):
        self.handler = handler
        self.lock = threading.Lock()
        self.connections = 0
        self.bytes_in = 0
        self.requests = []
        self.errors = []
        self.peers = []
        if isinstance(address, str):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address)
            self.address = f"unix:{address}"
        else:
            v6 = ":" in address[0]
            self.listener = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(address)
            self.port = self.listener.getsockname()[1]
            self.address = f"[{address[0]}]:{self.port}" if v6 else f"{address[0]}:{self.port}"
        self.listener.listen(backlog)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT * 2)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self)
            with self.lock:
                self.connections += 1
                self.peers.append(peer)
            threading.Thread(target=self.run, args=(peer,), daemon=True).start()

    def run(self, peer):
        try:
            self.handler(peer)
        except OSError:
            pass  # weir may leave at any time
        except Exception as error:  # shown and failed at the end of the test
            self.errors.append(error)
        finally:
            peer.close()

    def count_bytes(self, n):
        with self.lock:
            self.bytes_in += n

    def count_request(self, msg):
        with self.lock:
            self.requests.append(msg)

    @property
    def n_requests(self):
        return len(self.requests)

    def refuse(self):
        """From now on nobody listens."""
        self.listener.close()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.peers:
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def refused_address():
    """An address that refuses connections."""
    return f"127.0.0.1:{free_port()}"
