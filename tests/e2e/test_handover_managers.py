# SPDX-License-Identifier: MIT
"""A hand-over seen by who looks after weir: process 1, a service manager, its sockets."""
import json
import os
import signal
import socket
import subprocess

from backends import binary, can_connect
from daemon import Admin, make_conf
from test_handover import ask, ended, hand_over, lineage, status  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return [int(child) for child in listed.read().split()]


PID_NAMESPACE = ["unshare", "--pid", "--fork",
                 *(["--user", "--map-root-user"] if os.getuid() else [])]


def test_process_1_goes_on(weir, app):
    """Its end would be the container's: a hand-over is refused, everything else works, and a
    process that lost its parent is reaped, whether it ended before or after."""
    orphans = '(true &); (sleep 0.3 &); exec "$@"'
    daemon = weir(app().addresses, wrapper=[*PID_NAMESPACE, "sh", "-c", orphans, "sh"], shutdown_timeout="5s")
    inner = children(daemon.pid)[0]
    wait_for(lambda: not children(inner), what="orphans are reaped")
    os.kill(inner, signal.SIGUSR2)
    wait_for(lambda: "hand-over failed, this process goes on: this is process 1" in daemon.stderr)
    assert daemon.ask().status == 200
    problems = daemon.admin.get("/v1/status")["problems"]
    assert any("hand-over" in p and "process 1" in p for p in problems), problems
    os.kill(inner, signal.SIGUSR1)
    os.kill(inner, signal.SIGHUP)
    wait_for(lambda: "generation 2" in daemon.stderr and "reopening logs" in daemon.stderr)
    assert daemon.admin.get("/v1/status")["problems"] == []
    daemon.checked = True
    os.kill(inner, signal.SIGTERM)
    assert daemon.wait() == 0 and "stopped" in daemon.stderr


class Manager:
    """The service manager's end of NOTIFY_SOCKET: who said what."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(10)
        self.path, self.said = path, []

    def hear(self, pid, line):
        """Reads until this process has said this."""
        while (pid, line) not in self.said:
            text, extra, _, _ = self.socket.recvmsg(4096, 256)
            sender = int.from_bytes(extra[0][2][:4], "little")
            self.said += [(sender, each) for each in text.decode().splitlines()]


def test_a_service_manager_follows(lineage, app, tmp_path):
    """The main process names the next one, which says the same: whichever NotifyAccess= takes."""
    manager = Manager(f"{tmp_path}/notify")
    daemon = lineage(app().addresses, env={"NOTIFY_SOCKET": manager.path})
    manager.hear(daemon.pid, "READY=1")
    new = hand_over(daemon, daemon.pid)
    manager.hear(new, "READY=1")
    manager.hear(new, f"MAINPID={new}")
    manager.hear(daemon.pid, f"MAINPID={new}")
    ended(daemon)
    assert (daemon.pid, "STOPPING=1") not in manager.said, "the service goes on"
    os.kill(new, signal.SIGHUP)
    wait_for(lambda: status(daemon).get("generation") == 2)
    manager.socket.close()
    os.kill(new, signal.SIGUSR2)
    wait_for(lambda: "the service manager cannot be told" in daemon.stderr)
    assert ask(daemon.port) == 200 and status(daemon)["pid"] == new


def test_a_manager_that_cannot_follow(weir, app):
    """A service of systemd without Type=notify: it would end the new process, too."""
    daemon = weir(app().addresses,
                  wrapper=["sh", "-c", 'export SYSTEMD_EXEC_PID=$$; exec "$@"', "sh"])
    daemon.kill(signal.SIGUSR2)
    wait_for(lambda: "hand-over failed, this process goes on" in daemon.stderr)
    daemon.says("set Type=notify")
    assert daemon.ask().status == 200


def test_sockets_of_a_service_manager(tmp_path, app):
    """sd_listen_fds(3): one socket, shared by two workers; its file is not ours."""
    backend = app()
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"{tmp_path}/web.sock")
    unix.listen()
    port = tcp.getsockname()[1]
    conf = make_conf(tmp_path, backend.addresses, shutdown_timeout="5s",
                     listener={"bind": [f"127.0.0.1:{port}", f"unix:{tmp_path}/web.sock"]})
    (tmp_path / "weir.json").write_text(json.dumps(conf))
    fds = [tcp.fileno(), unix.fileno()]
    script = 'exec 3<&$A 4<&$B; LISTEN_PID=$$ exec "$@"'
    child = subprocess.Popen(
        ["bash", "-c", script, "sh", binary("weir"), "-c", f"{tmp_path}/weir.json"], pass_fds=fds,
        env={**os.environ, "LISTEN_FDS": "2", "A": str(fds[0]), "B": str(fds[1])},
        stderr=subprocess.PIPE, text=True)
    tcp.close()
    unix.close()
    try:
        admin = Admin(conf["status"]["socket"])
        wait_for(lambda: can_connect(conf["status"]["socket"])
                 and admin.call("GET", "/livez").status == 200)
        assert [ask(port) for _ in range(20)] == [200] * 20
        assert ask(f"{tmp_path}/web.sock") == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
    assert os.path.exists(f"{tmp_path}/web.sock")
    assert not os.path.exists(conf["status"]["socket"])
