# SPDX-License-Identifier: MIT
"""Files that somebody else may change, that never end, or that are none."""
import copy
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from backends import binary, free_port
from certs import Authority
from daemon import Admin, make_conf
from test_auth import HASHES, basic, write
from wire import PATIENCE, SLOW, wait_for

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
NOBODY = pwd.getpwnam("nobody")


# ---- what is no file ----

def with_certificate(**tls):
    def change(conf, ca, fifo):
        pair = ca.issue("web")
        values = {key: value(pair, fifo) for key, value in tls.items()}
        certificate = {key: values.pop(key, {"cert": str(pair.pem), "key": str(pair.key)}.get(key))
                       for key in ("cert", "key", "ocsp")}
        conf["listeners"][0]["tls"] = {
            "certificates": [{k: v for k, v in certificate.items() if v}], **values}
    return change


def in_directory(conf, ca, fifo):
    folder = fifo.parent / "directory"
    folder.mkdir()
    pair = ca.issue("web")
    for path in (pair.pem, pair.key):
        shutil.copy(path, folder)
    fifo.rename(folder / "aaa.pem")
    conf["listeners"][0]["tls"] = {"certificates": [{"directory": str(folder)}]}


def of_pool(**tls):
    def change(conf, ca, fifo):
        conf["pools"]["app"]["tls"] = {k: v(fifo) for k, v in tls.items()}
    return change


def at(*path):
    def change(conf, ca, fifo):
        for key in path[:-1]:
            conf = conf.setdefault(key, {})
        conf[path[-1]] = str(fifo)
    return change


def tracing(conf, ca, fifo):
    conf["tracing"] = {"endpoint": "http://127.0.0.1:4318/v1/traces", "headers_file": str(fifo)}


def sticky(conf, ca, fifo):
    conf["pools"]["app"]["sticky"] = {"cookie": "pin", "key_file": str(fifo)}


def itself(conf, ca, fifo):
    """The configuration: written over by the fifo."""


READ = {
    "certificate": with_certificate(cert=lambda pair, fifo: str(fifo)),
    "key": with_certificate(key=lambda pair, fifo: str(fifo)),
    "ocsp": with_certificate(ocsp=lambda pair, fifo: str(fifo)),
    "directory": in_directory,
    "client_ca": with_certificate(client_auth=lambda *_: "require",
                                  client_ca=lambda pair, fifo: str(fifo)),
    "client_crl": with_certificate(client_auth=lambda *_: "require",
                                   client_ca=lambda pair, fifo: str(pair.pem),
                                   client_crl=lambda pair, fifo: str(fifo)),
    "ticket_key_file": with_certificate(ticket_key_file=lambda pair, fifo: str(fifo)),
    "ca of a pool": of_pool(ca=str),
    "token_file": at("status", "token_file"),
    "headers_file": tracing,
    "sticky key_file": sticky,
    "configuration": itself,
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def test_a_fifo_in_place_of_a_file_is_refused(weir, app, tmp_path, authority):
    """Reload answers, the control thread goes on, and so does the test of a configuration."""
    daemon = weir(app().addresses, pool={"protocol": "http1"})
    before = daemon.conf_path.read_text()
    for name, change in READ.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        conf = copy.deepcopy(daemon.conf)
        change(conf, authority, fifo)
        if change is itself:
            daemon.conf_path.unlink()
            os.mkfifo(daemon.conf_path)
        else:
            daemon.write(conf)
            done = subprocess.run([binary("weir"), "-t", "-c", daemon.conf_path], check=False,
                                  capture_output=True, text=True, timeout=PATIENCE * SLOW)
            # what only a start opens is not looked at by the test of a configuration
            assert done.returncode == 0 or "it is a pipe, not a file" in done.stderr, name
        answer = daemon.admin.call("POST", "/v1/reload")
        assert answer.status == 422 and b"it is a pipe, not a file" in answer.body, (name, answer)
    daemon.conf_path.unlink()
    daemon.conf_path.write_text(before)
    daemon.reload()


# ---- root, and a user who may write ----

@pytest.fixture
def shared_folder():
    """A directory where nobody may come, and write."""
    folder = Path(tempfile.mkdtemp(prefix="weir-files-"))
    folder.chmod(0o755)
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid)
    yield theirs
    shutil.rmtree(folder)


# Puts links in place of whatever appears, as fast as it can.
ATTACK = """
import os, sys
folder, target = sys.argv[1:]
os.setgid({gid}); os.setuid({uid})
link = os.path.join(folder, "link")
print("ready", flush=True)
while True:
    for name in ("status.sock", "web.sock", "access.log"):
        path = os.path.join(folder, name)
        if os.path.lexists(path) and not os.path.islink(path):
            os.symlink(target, link)
            os.rename(link, path)
""".format(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid)


@as_root
def test_root_follows_no_link_of_the_user(weir, app, shared_folder, tmp_path):
    """The user puts links where sockets and the log appear: nothing of root's changes hands."""
    target = shared_folder.parent / "secret"
    target.write_text("root's")
    target.chmod(0o600)
    was = target.stat()
    attacker = subprocess.Popen([sys.executable, "-c", ATTACK, str(shared_folder), str(target)],
                                stdout=subprocess.PIPE)
    try:
        assert attacker.stdout.readline() == b"ready\n"
        conf = make_conf(tmp_path, app().addresses, user="nobody",
                         status={"socket": str(shared_folder / "status.sock")},
                         log={"access": {"path": str(shared_folder / "access.log")}},
                         listener={"bind": f"unix:{shared_folder}/web.sock"})
        for i in range(10):
            for name in ("status.sock", "web.sock", "access.log", "link"):
                (shared_folder / name).unlink(missing_ok=True)
            daemon = weir(conf=conf, status_socket=shared_folder / "status.sock", ready=False)
            wait_for(lambda: "ready: 2 workers" in daemon.stderr or not daemon.alive())
            daemon.stop()
            daemon.checked = True
            now = target.stat()
            assert (now.st_uid, now.st_mode, now.st_size) == (0, was.st_mode, was.st_size), i
    finally:
        attacker.kill()
        attacker.wait()
    assert target.read_text() == "root's"


@as_root
def test_what_is_made_belongs_to_the_user(weir, app, shared_folder):
    daemon = weir(app().addresses, user="nobody", status={"mode": "0600"},
                  log={"access": {"path": str(shared_folder / "access.log")}})
    log = shared_folder / "access.log"
    assert log.stat().st_uid == NOBODY.pw_uid and stat.S_IMODE(log.stat().st_mode) == 0o640
    socket = Path(daemon.sock).stat()
    assert (socket.st_uid, stat.S_IMODE(socket.st_mode)) == (NOBODY.pw_uid, 0o600)
    assert daemon.ask().status == 200
    moved = log.rename(shared_folder / "moved.log")
    daemon.kill(signal.SIGUSR1)
    wait_for(log.exists)
    assert daemon.ask(target="/new").status == 200
    wait_for(lambda: "/new" in log.read_text())
    assert "/new" not in moved.read_text()


@as_root
def test_a_log_of_roots_directory_is_given_to_the_user(weir, app, shared_folder):
    """Only root may make files there; the user may open again what logrotate creates for him."""
    log = shared_folder.parent / "access.log"
    log.write_text("from before\n")
    daemon = weir(app().addresses, user="nobody", log={"access": {"path": str(log)}})
    assert log.stat().st_uid == NOBODY.pw_uid
    moved = log.rename(shared_folder.parent / "moved.log")
    log.touch()
    os.chown(log, NOBODY.pw_uid, NOBODY.pw_gid)
    daemon.kill(signal.SIGUSR1)

    def new():
        daemon.ask(target="/new")
        return "/new" in log.read_text()
    wait_for(new)
    log.unlink()
    daemon.kill(signal.SIGUSR1)  # and now there is none that he could open
    wait_for(lambda: any("access log cannot be reopened" in p and "Permission denied" in p
                         for p in daemon.admin.get("/v1/status")["problems"]))
    assert moved.read_text().startswith("from before\n")


@as_root
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_root_takes_no_log_that_somebody_else_put_there(weir, app, shared_folder, kind, tmp_path):
    """Without `user` weir stays root, and the directory is not root's."""
    target = shared_folder.parent / "secret"
    target.write_text("root's")
    log = shared_folder / "access.log"
    (os.symlink if kind == "link" else os.link)(target, log)
    daemon = weir(app().addresses, log={"access": {"path": str(log)}}, ready=False)
    assert daemon.wait() == 1
    daemon.checked = True
    assert "cannot open the access log" in daemon.stderr
    assert target.read_text() == "root's"


@pytest.fixture
def his_link(shared_folder):
    """(a link of his, where it leads to: a directory of root's)"""
    aside = shared_folder.parent / "aside"
    aside.mkdir(0o700)
    link = shared_folder / "link"
    link.symlink_to(aside)
    os.lchown(link, NOBODY.pw_uid, NOBODY.pw_gid)
    return link, aside


def cannot_keep(daemon):
    wait_for(lambda: "history.db cannot be used: " in daemon.stderr)


@as_root
def test_root_keeps_nothing_behind_a_link_of_somebody_else(weir, app, his_link):
    link, aside = his_link
    daemon = weir(app().addresses, state={"directory": str(link)})
    daemon.fd_check = False
    cannot_keep(daemon)
    assert daemon.ask().status == 200 and daemon.stop() == 0
    assert not list(aside.iterdir())


@as_root
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo"])
def test_root_fills_no_history_that_somebody_else_put_there(weir, app, shared_folder, kind):
    target, history = shared_folder.parent / "secret", shared_folder / "history.db"
    target.write_text("")
    if kind == "fifo":
        os.mkfifo(history)
    else:
        (os.symlink if kind == "link" else os.link)(target, history)
    daemon = weir(app().addresses, state={"directory": str(shared_folder)})
    daemon.fd_check = False
    cannot_keep(daemon)
    assert daemon.ask().status == 200 and daemon.stop() == 0
    assert target.read_text() == ""


@as_root
def test_root_binds_nothing_behind_a_link_of_somebody_else(weir, app, his_link):
    link, aside = his_link
    daemon = weir(app().addresses, listener={"bind": f"unix:{link}/web.sock"}, ready=False)
    assert daemon.wait() == 1
    daemon.checked = True
    assert "web.sock" in daemon.stderr
    assert not list(aside.iterdir())


@as_root
def test_root_binds_where_somebody_else_may_write(weir, app, shared_folder):
    path = shared_folder / "web.sock"
    daemon = weir(app().addresses, listener={"bind": f"unix:{path}"}, ready=False)
    wait_for(lambda: path.exists() and can_connect_to(path))
    assert path.stat().st_uid == 0
    assert daemon.stop() == 0
    daemon.checked = True


def can_connect_to(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


@as_root
def test_somebody_elses_directory_in_tmp_is_refused(weir, app, tmp_path):
    folder = tempfile.mkdtemp(prefix="weir-theirs-")
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    try:
        daemon = weir(app().addresses, status={"socket": f"{folder}/weir.sock"}, ready=False)
        assert daemon.wait() == 1
        daemon.checked = True
        assert "belongs to somebody else" in daemon.stderr
    finally:
        shutil.rmtree(folder)


@as_root
@pytest.mark.parametrize("whose", ["everybody's", "his"])
def test_weirctl_trusts_nobody_who_may_have_put_the_socket_there(whose):
    """In a directory where everybody writes, or in one that he made in /tmp before us."""
    folder = Path(tempfile.mkdtemp(prefix="weir-all-"))
    if whose == "his":
        folder.chmod(0o755)
        os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
    else:
        folder.chmod(0o1777)
    serve = ("import os, socket, sys; os.setuid({}); s = socket.socket(socket.AF_UNIX); "
             "s.bind(sys.argv[1]); s.listen(); print('ready', flush=True); s.accept()[0].recv(1)"
             ).format(NOBODY.pw_uid)
    impostor = subprocess.Popen([sys.executable, "-c", serve, str(folder / "weir.sock")],
                                stdout=subprocess.PIPE)
    try:
        assert impostor.stdout.readline() == b"ready\n"
        done = subprocess.run([binary("weirctl"), "-s", str(folder / "weir.sock"), "status"],
                              capture_output=True, text=True, check=False, timeout=PATIENCE * SLOW)
        assert done.returncode != 0 and "neither you nor root" in done.stderr, done
    finally:
        impostor.kill()
        impostor.wait()
        shutil.rmtree(folder)


# ---- the sandbox ----

def confined(pid):
    """{name of a thread: whether seccomp filters it}"""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended
            continue
        found[status.split("\n", 1)[0].split(":\t")[1]] = "\nSeccomp:\t2\n" in status
    return found


def test_threads_that_read_strangers_bytes_are_confined(weir, app):
    """Those of the process that takes over as well; the control thread has to stay outside."""
    daemon = weir(app().addresses, sandbox="on")
    said = daemon.admin.get("/v1/status")["sandbox"]
    if not said or "seccomp" not in said:
        pytest.skip(f"this build or kernel has: {said}")
    wanted = {"worker 0": True, "worker 1": True, "health": True, "weir": False}

    def are_confined(pid):
        wait_for(lambda: {k: v for k, v in confined(pid).items() if k in wanted} == wanted,
                 what=f"{wanted} of {confined(pid)}")
    are_confined(daemon.pid)
    daemon.kill(signal.SIGUSR2)
    other = wait_for(daemon.successor)
    try:
        are_confined(other)
        daemon.wait()
        assert daemon.admin.get("/v1/status")["sandbox"] == said
        assert daemon.ask().status == 200
    finally:
        daemon.checked = True
        os.kill(other, signal.SIGTERM)
        wait_for(lambda: not Path(f"/proc/{other}").exists())


@pytest.mark.parametrize("where", ["route", "status"])
def test_the_thread_that_checks_passwords_is_confined(weir, app, tmp_path, where):
    """It is there from the start, when the sandbox is not, or comes with a reload; and works."""
    auth = {"basic": {"file": write(tmp_path / "users", HASHES)}}
    port = free_port()
    keys = {"routes": [{"pool": "app", "auth": auth}]} if where == "route" else {
        "status": {"bind": f"127.0.0.1:{port}", "auth": auth}}

    def checks(daemon):
        for name in HASHES:
            asked = daemon.ask if where == "route" else Admin(port).call
            assert asked("GET", "/metrics", headers=[basic(name, "wrong")]).status == 401
            assert asked("GET", "/metrics", headers=[basic(name)]).status == 200
    daemon = weir(app().addresses, sandbox="on", **keys)
    said = daemon.admin.get("/v1/status")["sandbox"]
    if not said or "seccomp" not in said:
        pytest.skip(f"this build or kernel has: {said}")
    checks(daemon)
    assert confined(daemon.pid)["passwords"]
    assert daemon.admin.get("/v1/status")["sandbox"] == said
    assert daemon.stop() == 0
    plain = weir(app().addresses, sandbox="on")
    plain.fd_check = False  # the thread brings its own
    assert "passwords" not in confined(plain.pid)
    conf = copy.deepcopy(plain.conf)
    conf.update(copy.deepcopy(keys) if where == "route" else
                {"status": {**conf["status"], **keys["status"]}})
    plain.reload(conf)
    checks(plain)
    assert confined(plain.pid)["passwords"]


def test_the_sandbox_can_be_off(weir, app):
    daemon = weir(app().addresses, sandbox="off")
    assert daemon.admin.get("/v1/status")["sandbox"] is None
    assert not any(confined(daemon.pid).values())
