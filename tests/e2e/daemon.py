# SPDX-License-Identifier: MIT
"""weir itself: started with a written configuration, asked through its status socket."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from backends import Process, binary, free_port
from wire import PATIENCE, SLOW, Client, wait_for

BAD_LINES = re.compile(r"Sanitizer|runtime error:|internal error|check failed|assert", re.I)


def is_sanitized():
    """Whether weir was built with AddressSanitizer or the like: memory is not its own then."""
    try:
        return b"__asan_init" in Path(binary("weir")).read_bytes()
    except AssertionError:
        return False


def tls_library():
    """Name and version of the TLS library, as weir says them."""
    said = subprocess.run([binary("weir"), "-V"], capture_output=True, text=True, check=True).stdout
    return re.search(r"(?:OpenSSL|AWS-LC) [0-9.]+", said)[0]


def built(folder, source, *flags):
    """A library of preload/, compiled."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler")
    library = Path(folder) / f"{source}.so"
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-fPIC", "-shared", *flags, "-o", library,
                    Path(__file__).resolve().parent / "preload" / f"{source}.c", "-ldl"], check=True)
    return library


def preloading(folder, source, **env):
    """The environment in which a library of preload/ comes first: a sanitizer wants to, but can do
    without."""
    library = built(folder, source)
    asan = os.environ.get("ASAN_OPTIONS", "")
    return {"ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0".lstrip(":"),
            "LD_PRELOAD": str(library), **env}


SANITIZED = is_sanitized()
MERGED = ("status", "log")


@contextlib.contextmanager
def frozen(thread):
    """A thread of another process does not run at all meanwhile."""
    seize, interrupt, detach, wall = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(seize, thread, None, None):
        pytest.skip(f"no ptrace here: {os.strerror(ctypes.get_errno())}")
    try:
        assert libc.ptrace(interrupt, thread, None, None) == 0
        os.waitpid(thread, wall)
        yield
    finally:
        libc.ptrace(detach, thread, None, None)


class Admin:
    """The API over the unix socket (or TCP)."""

    def __init__(self, address):
        self.address = address

    def call(self, method, path, data=None, headers=()):
        body = b"" if data is None else json.dumps(data).encode()
        headers = [("Connection", "close"), *headers]
        if body:
            headers.append(("Content-Type", "application/json"))
        with Client(self.address) as client:
            return client.ask(method, path, headers, body, host="weir")

    def read(self, path):
        """With all that clients have seen: a worker counts an exchange just after its client has
        the answer, and who is asked for its connections is done with that."""
        with Client(self.address) as client:
            client.ask("GET", "/v1/connections", host="weir")
            return client.ask("GET", path, [("Connection", "close")], host="weir")

    def get(self, path):
        response = self.read(path)
        assert response.status == 200, (path, response)
        assert response.get("Content-Type").startswith("application/json"), response
        return response.json()

    def post(self, path, data=None, status=200):
        response = self.call("POST", path, data)
        assert response.status == status, (path, response)
        return response.json() if response.body else None

    def metrics(self):
        """{"name{labels}": value}"""
        response = self.read("/metrics")
        assert response.status == 200, response
        rows = {}
        for line in response.body.decode().splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                rows[key] = float(value)
        return rows


class Weir(Process):
    """A running daemon.  Clients made by connect() are closed before the end is checked."""

    def __init__(self, folder, conf=None, args=None, status_socket=None, env=None, wrapper=(),
                 ready=True, n=0, program="weir"):
        self.folder = Path(folder)
        self.conf_path = self.folder / f"weir-{n}.yaml"
        self.clients = []
        self.conf = conf
        self.checked = False
        self.fd_check = True
        self.sock = str(status_socket or self.folder / f"weir-{n}.sock")
        if args is None:
            self.write(conf)
            args = ["-c", str(self.conf_path)]
        super().__init__([*wrapper, binary(program), *args], folder, f"weir-{n}", env=env)
        self.admin = Admin(self.sock)
        if ready:
            self.wait_ready(self.answers)
            self.idle_fds = self.stable_fds()

    # ---- configuration ----

    def write(self, conf):
        """Writes the file (a dict or text) without telling the daemon."""
        text = conf if isinstance(conf, str) else yaml.safe_dump(conf, sort_keys=False)
        self.conf_path.write_text(text)

    @property
    def port(self):
        return int(self.bind(0).rpartition(":")[2])

    def bind(self, i):
        return self.conf["listeners"][i]["bind"]

    # ---- asking ----

    def answers(self):
        try:
            return self.admin.call("GET", "/v1/status").status == 200
        except (OSError, AssertionError):
            return False

    def connect(self, address=None, **kwargs):
        client = Client(self.port if address is None else address, **kwargs)
        self.clients.append(client)
        return client

    def ask(self, method="GET", target="/", headers=(), body=b"", **kwargs):
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(method, target, headers, body, **kwargs)

    def pools(self):
        return self.admin.get("/v1/pools")["pools"]

    def backends(self, pool="app"):
        """{name: row} of one pool."""
        return {row["name"]: row for row in self.admin.get(f"/v1/pools/{pool}")["backends"]}

    def sum(self, key):
        return sum(row[key] for pool in self.pools() for row in pool["backends"])

    def ctl(self, *args, check=None, env=None, timeout=PATIENCE):
        done = subprocess.run([binary("weirctl"), "-s", self.sock, *args], capture_output=True,
                              text=True, timeout=timeout * SLOW, stdin=subprocess.DEVNULL,
                              env={**os.environ, **(env or {})}, check=False)
        if check is not None:
            assert done.returncode == check, (args, done.returncode, done.stdout, done.stderr)
        return done

    def events(self):
        return self.admin.get("/v1/events")["events"]

    # ---- the process ----

    @property
    def stderr(self):
        """All that was said before: a thread of its own writes lines, and sleeps when it has."""
        wait_for(lambda: not self.is_writing(), what="the log is written")
        return super().stderr

    def thread(self, name):
        """Its folder in /proc, None without one."""
        for task in Path(f"/proc/{self.pid}/task").glob("*"):
            with contextlib.suppress(OSError):  # it has ended
                if (task / "comm").read_text() == name + "\n":
                    return task
        return None

    def is_writing(self):
        with contextlib.suppress(OSError):
            if task := self.thread("messages"):
                return (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD"
        return False

    def frozen(self, name=None):
        """For a `with`: one of its threads does not run, the control thread unless named."""
        return frozen(int(wait_for(lambda: self.thread(name)).name) if name else self.pid)

    def fds(self):
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except PermissionError:  # in its sandbox a process hides them from all but root
            return 0

    def stable_fds(self):
        last = -1
        deadline = time.monotonic() + PATIENCE
        while (now := self.fds()) != last and time.monotonic() < deadline:
            last = now
            time.sleep(0.03)
        return now

    def rss(self):
        """Resident bytes, without what is shared with files."""
        assert self.alive(), f"weir ended with {self.child.returncode}: {self.stderr}"
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) * 1024

    def grew_less(self, before, bound):
        """Whether its memory has; a sanitizer keeps what is freed, so there nothing is said."""
        return SANITIZED or self.rss() - before < bound

    def cpu_seconds(self):
        """CPU time of all threads, to the nanosecond."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def reload(self, conf=None, status=200):
        if conf is not None:
            if not isinstance(conf, str):
                self.conf = conf
            self.write(conf)
        answer = self.admin.post("/v1/reload", status=status)
        self.admin.get("/v1/connections")  # past all workers: they have what is in force now
        return answer

    def successor(self):
        """The process that has taken over; None: none yet.  Whoever asks meanwhile may be sent away."""
        with contextlib.suppress(OSError, AssertionError):
            pid = self.admin.get("/v1/status")["pid"]
            return pid if pid != self.pid else None
        return None

    def hup(self):
        """HUP, and wait until the daemon says how it went: last_reload comes back."""
        before = self.admin.get("/v1/status")["last_reload"]
        self.kill(signal.SIGHUP)
        return wait_for(lambda: (now := self.admin.get("/v1/status")["last_reload"]) != before
                        and now, 5, "a reload after HUP")

    # ---- the end ----

    def is_idle(self):
        exchanges = sum(w["exchanges"] for w in self.admin.get("/v1/status")["workers"])
        return exchanges == 0 and self.sum("in_flight") == 0 and self.sum("queued") == 0

    def pipes(self):
        return sum(w["pipes"] for w in self.admin.get("/v1/status")["workers"])

    def leaks(self):
        return self.fds() - self.idle_fds - self.sum("upconns") - 2 * self.pipes()

    def assert_idle(self):
        """All traffic is over: nothing may be left of it."""
        for client in self.clients:
            client.close()
        wait_for(self.is_idle, 5, "exchanges, in_flight and queued are 0")
        if self.fd_check:
            # fewer than at the start: that was looked at while a check or a question was open
            wait_for(lambda: self.leaks() <= 0, 5, "the fds of the idle level")

    def finish(self, code=0):
        """TERM, and everything that must be true then."""
        self.checked = True
        try:
            if self.alive():
                self.assert_idle()
                self.kill(signal.SIGTERM)
            self.wait()
        finally:
            self.stop(signal.SIGKILL)
        assert self.child.returncode == code, (self.child.returncode, self.stderr)
        self.assert_quiet()

    def assert_quiet(self):
        bad = [line for line in self.stderr.splitlines() if BAD_LINES.search(line)]
        assert not bad, self.stderr


def make_conf(folder, backends=(), pool=None, listener=None, n=0, **top):
    """A configuration of one listener and the pool `app`, changed by keywords."""
    listener = listener or {}
    conf = {
        "workers": 2,
        "status": {"socket": str(Path(folder) / f"weir-{n}.sock")},
        "listeners": [{"name": "web", "bind": f"127.0.0.1:{free_port()}", **listener}],
    }
    if os.geteuid() != 0:  # who is not root could not count descriptors
        conf["sandbox"] = "off"
    if backends:
        conf["pools"] = {"app": {"backends": list(backends), **(pool or {})}}
    for key, value in top.items():
        if key in MERGED:
            conf.setdefault(key, {}).update(value)
        else:
            conf[key] = value
    return conf
