# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests.

  WEIR_BUILD=build /usr/bin/python3 -m pytest tests/e2e

A test asks for `weir` (starts the daemon) and for backends.  Whatever it does,
the daemon must be idle afterwards (no exchange, lease, queued request or file
descriptor left), end with 0 on TERM, and have said nothing bad.  WEIR_SLOW=1
doubles all waits, for sanitizer builds.
"""
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from backends import (App, FileServer, Gunicorn, Nginx, Node, Scripted,  # noqa: E402
                      answer_all, pattern)
from certs import Authority  # noqa: E402
from daemon import Weir, make_conf  # noqa: E402
from wire import PATIENCE, SLOW  # noqa: E402

# what scripts/chaos runs: a minute for each balancer
CHAOS = ["test_bad_deploy.py", "test_trouble.py", "test_trouble_peers.py"]
collect_ignore = [] if os.environ.get("WEIR_CHAOS") else CHAOS

# files that take a minute or more: they begin first, for a worker has a file to itself
LONG = ("acme", "instructions", "refused_calls", "acme_nodes", "acme_restarts", "verdict_nodes", "fleet", "acme_peers",
        "proxy_basic", "health", "acme_faults", "status_auth", "resilience", "odd", "scale_out", "state",
        "hostile_sources", "shared_limits")

# Files whose tests ask what weir decides, says and keeps.  That follows from the source alone, and is
# the same in every build, so scripts/test runs them on the asan build only, which sees more of it.  On
# the release, too, run those that are about what a compiler, the allocator or the kernel could do
# differently there: the way of requests' bytes, TLS, real peers and browsers, instructions, memory,
# system calls, hand-over, load; and whatever is marked slow.
SAME_ON_ALL_BUILDS = (
    "acme", "acme_faults", "acme_nodes", "acme_renewal", "acme_restarts", "admin", "auth",
    "auth_forward", "balance", "blame", "cli", "cluster", "config", "ctl_changes", "ctl_doctor",
    "ctl_fake", "ctl_usage", "deadlines", "duties", "ejections", "errors", "export", "faults",
    "first", "h2_frames", "headers", "health", "health_beside", "hostile_redis",
    "hostile_sources", "identity", "insight", "kubernetes", "limits", "log", "mirror", "nodes",
    "odd", "pages", "pins", "pins_shared", "pool_retries", "pool_timeouts", "pools",
    "proxy_protocol", "rate_limit", "refused_calls", "registries", "resilience", "routes",
    "runtime", "shared_limits", "sources", "state", "status_auth", "tls_operators", "tls_watch",
    "top", "tracing", "trial", "variables")
# Files in which the sanitizer has little to see, for somebody else does the work: browsers, other
# servers and clients, the text of the guide.  Run on the release build only.
OF_OTHERS = ("acme_peers", "dashboard", "guide", "h2_browser", "ported", "smuggling")
FILE_SIZES = (0, 1, 1000, 65535, 65536, 65537, 1 << 20, 64 << 20)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes seconds; left out on sanitizer builds")
    config.addinivalue_line("markers", "same: runs on the asan build, see SAME_ON_ALL_BUILDS")
    config.addinivalue_line("markers", "others: runs on the release build, see OF_OTHERS")
    config.addinivalue_line("markers", "other_user: weir becomes somebody else; needs root")


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    same = {f"test_{name}" for name in SAME_ON_ALL_BUILDS}
    others = {f"test_{name}" for name in OF_OTHERS}
    for item in items:
        if item.path.stem in same and not item.get_closest_marker("slow"):
            item.add_marker("same")
        if item.path.stem in others:
            item.add_marker("others")


@pytest.fixture
def tmp_path(request, tmp_path):
    """Marked other_user: a folder that anybody may enter.  Those of pytest are closed to others
    whenever a session begins, be it another one on this machine."""
    if not request.node.get_closest_marker("other_user"):
        yield tmp_path
        return
    if os.geteuid() != 0:
        pytest.skip("needs root: only root becomes somebody else")
    with tempfile.TemporaryDirectory(prefix="weir-e2e-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("session")


@pytest.fixture(scope="session")
def file_root(session_folder):
    """A folder with files named by their size, e.g. 65536.bin."""
    root = session_folder / "root"
    root.mkdir()
    for size in FILE_SIZES:
        (root / f"{size}.bin").write_bytes(pattern(size))
    return root


@pytest.fixture(scope="session")
def certified(tmp_path_factory):
    """A certificate of a.example and 127.0.0.1, and its .ca"""
    ca = Authority(tmp_path_factory.mktemp("ca"))
    pair = ca.issue("site", ["a.example", "IP:127.0.0.1"])
    pair.ca = ca.pem
    return pair


def _session_process(kind):
    @pytest.fixture(scope="session")
    def fixture(session_folder, file_root):
        process = kind(session_folder, file_root)
        yield process
        process.stop()
    return fixture


node = _session_process(Node)
gunicorn = _session_process(Gunicorn)
nginx = _session_process(Nginx)
file_server = _session_process(FileServer)


@pytest.fixture
def app(tmp_path):
    """app(instances=1, defaults="service=1ms", overrides=["2:service=50ms"]) -> App"""
    started = []

    def start(*args, **kwargs):
        kwargs.setdefault("name", f"app{len(started)}" if started else "app")
        started.append(App(tmp_path, *args, **kwargs))
        return started[-1]
    yield start
    for each in started:
        each.stop()


@pytest.fixture
def scripted():
    """scripted(handler) -> Scripted"""
    started = []

    def start(handler=answer_all, **kwargs):
        started.append(Scripted(handler, **kwargs))
        return started[-1]
    yield start
    for each in started:
        each.close()
    for each in started:
        assert not each.errors, f"what weir sent to a backend was wrong: {each.errors!r}"


@pytest.fixture
def weir(tmp_path, app, scripted):
    """weir(backends, pool={...}, listener={...}, routes=[...]) -> Weir

    conf=TEXT_OR_DICT gives the whole configuration, args=[...] the command line.
    app and scripted are asked for here so that backends outlive the daemon.
    """
    started = []

    def start(backends=(), conf=None, args=None, status_socket=None, env=None, wrapper=(),
              ready=True, program="weir", **kwargs):
        n = len(started)
        if conf is None and args is None:
            conf = make_conf(tmp_path, backends, n=n, **kwargs)
        daemon = Weir(tmp_path, conf, args, status_socket, env, wrapper, ready, n, program)
        started.append(daemon)
        return daemon
    yield start
    try:
        for each in started:
            if not each.checked:
                each.finish()
    finally:
        for each in started:
            each.child.kill()
            each.child.wait()


@pytest.fixture
def one(weir, app):
    """weir in front of one weir-app, which is .app"""
    backend = app()
    daemon = weir(backend.addresses)
    daemon.app = backend
    return daemon


@pytest.fixture
def two(weir, app):
    """weir in front of the backends a and b, of the app .app"""
    backend = app(2)
    daemon = weir([{"address": x, "name": n} for x, n in zip(backend.addresses, "ab")],
                  pool={"balance": "round-robin"})
    daemon.app = backend
    return daemon


@pytest.fixture
def browser(tmp_path):
    from browser import Browser  # only its tests need a library for it
    page = Browser(tmp_path)
    yield page
    page.stop()


@pytest.fixture(autouse=True)
def bounded():
    """A test that hangs fails instead."""
    def expire(*_):
        raise TimeoutError("the test took too long")
    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(8 * PATIENCE * SLOW)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
