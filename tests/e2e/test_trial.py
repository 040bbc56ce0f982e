# SPDX-License-Identifier: MIT
"""weir -t finds what a start would, and weirctl's texts lead somewhere."""
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from backends import binary, free_port
from wire import wait_for


def trial(path, text=None, wrapper=()):
    if text is not None:
        Path(path).write_text(text)
    done = subprocess.run([*wrapper, binary("weir"), "-t", "-c", str(path)], capture_output=True,
                          text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def base(tmp_path, **more):
    rows = {"status": f"{{socket: {tmp_path}/s.sock}}",
            "listeners": f"[{{bind: 127.0.0.1:{free_port()}}}]",
            "pools": "{app: {backends: [127.0.0.1:1]}}", **more}
    return "".join(f"{key}: {value}\n" for key, value in rows.items())


def test_paths_and_users(tmp_path):
    conf = tmp_path / "c.yaml"
    assert trial(conf, base(tmp_path)) == (0, f"{conf}: configuration is ok\n")
    for changes, says in (
            ({"user": "nobody-of-that-name"}, "user 'nobody-of-that-name' does not exist"),
            ({"status": "{socket: /no/such/place/s.sock}"}, "cannot make /no/such/place"),
            ({"status": f"{{socket: {tmp_path}/s.sock, token_file: {tmp_path}/none}}"},
             f"status.token_file: this user cannot read {tmp_path}/none"),
            ({"log": "{access: {path: /no/such/place/log}}"}, "log.access.path: this user cannot"),
            ({"listeners": '[{bind: "unix:/no/such/place/web"}]'}, "bind: this user cannot make")):
        code, said = trial(conf, base(tmp_path, **changes))
        assert says in said, said
        assert code == 1 and "is ok" not in said or "user" in changes and os.getuid(), said


def test_what_is_in_files_is_tried_as_a_start_would(tmp_path):
    """Not only that they can be opened."""
    conf, file = tmp_path / "c.yaml", tmp_path / "file"
    keys = {
        "status": f"{{socket: {tmp_path}/s.sock, token_file: {file}}}",
        "shared": f"{{redis: {{address: 127.0.0.1:1, password_file: {file}}}}}",
        "tracing": f"{{endpoint: 'https://127.0.0.1:1/v1/traces', headers_file: {file}}}",
        "log": f"{{access: {{path: {file}}}}}",
        "state": f"{{directory: {file}}}"}

    def refused(key, says):
        text = base(tmp_path, **{key: keys[key]})
        code, said = trial(conf, text)
        if says is None:
            assert code == 0, said
            return
        assert code == 1 and "is ok" not in said and says in said, said
        if key != "state":  # a start goes on without it, and says so
            start = subprocess.run([binary("weir"), "-c", str(conf)], capture_output=True,
                                   text=True, timeout=30, check=False)
            assert start.returncode == 1 and says in start.stderr, start.stderr
    for text, says in [("", {"status": "is empty", "shared": "is empty", "state": "Not a directory"}),
                       ("A: b\nno field\n", {"tracing": "line 2 is no header field"}),
                       ("A:" + "x" * 40000, dict.fromkeys(("status", "shared", "tracing"),
                                                         "it is larger than"))]:
        file.write_text(text)
        for key in keys:
            refused(key, says.get(key, "Not a directory" if key == "state" else None))
    file.unlink()
    file.mkdir()
    for key in keys:
        refused(key, None if key == "state" else "Is a directory")


@pytest.mark.other_user
def test_files_are_tried_as_the_user_who_reads_them(tmp_path):
    conf, token = tmp_path / "c.yaml", tmp_path / "token"
    token.write_text("secret")
    text = base(tmp_path, user="nobody",
                status=f"{{socket: {tmp_path}/run/s.sock, token_file: {token}}}")
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 65534, 65534)
    os.chmod(token, 0o600)
    code, said = trial(conf, text)
    assert code == 1 and f"user 'nobody' cannot read {token}" in said, said
    os.chmod(token, 0o644)
    assert trial(conf, text)[0] == 0


@pytest.mark.other_user
def test_pages_and_the_file_itself_are_read_at_a_reload(tmp_path):
    conf, page = tmp_path / "c.yaml", tmp_path / "page.html"
    page.write_text("sorry")
    os.chmod(page, 0o600)
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", 65534, 65534)
    status = f"{{socket: {tmp_path}/run/s.sock}}"
    bind = f"bind: 127.0.0.1:{free_port()}"
    for changes in (
            {"listeners": f"[{{{bind}, errors: {{404: {{file: {page}}}}}}}]"},
            {"routes": f"[{{pool: app, errors: {{5xx: {{file: {page}}}}}}}]"},
            {"routes": f"[{{respond: {{file: {page}}}}}, {{pool: app}}]"}):
        text = base(tmp_path, user="nobody", status=status, **changes)
        code, said = trial(conf, text)
        assert code == 1 and f"user 'nobody' cannot read {page}" in said, said
    text = base(tmp_path, user="nobody", status=status)
    assert trial(conf, text) == (0, f"{conf}: configuration is ok\n")
    os.chmod(conf, 0o600)
    code, said = trial(conf)
    assert code == 0 and "user 'nobody' cannot read this file" in said, said


@pytest.mark.other_user
def test_sockets_in_a_directory_of_roots_are_made_for_the_user(weir, app, tmp_path):
    """What is tried is what is done: root makes them where the user may make nothing."""
    web = tmp_path / "web.sock"
    daemon = weir(app().addresses, user="nobody", listener={"bind": f"unix:{web}"})
    code, said = trial(daemon.conf_path)
    assert code == 0 and "cannot make" not in said, said
    assert web.stat().st_uid == Path(daemon.sock).stat().st_uid == 65534
    assert daemon.connect(str(web)).ask().status == 200


def test_ports_in_use(weir, app, tmp_path):
    """A warning, and none when it is weir itself with the same file."""
    daemon = weir(app().addresses)
    code, said = trial(daemon.conf_path)
    assert code == 0 and "in use" not in said, said
    other = tmp_path / "other.yaml"
    code, said = trial(other, daemon.conf_path.read_text())
    assert code == 0, said
    assert f"{daemon.bind(0)} now: it is in use: process {daemon.pid} (weir)" in said, said
    code, said = trial(other, base(tmp_path, listeners="[{bind: 192.0.2.1:8080}]"))
    assert code == 0 and "cannot listen on 192.0.2.1:8080" in said, said


def test_unix_sockets_in_use(weir, app, tmp_path):
    """As ports: of another weir, of another program; not one that nobody listens on."""
    daemon = weir(app().addresses, listener={"bind": f"unix:{tmp_path}/web"})
    assert "in use" not in trial(daemon.conf_path)[1]
    other, sock = tmp_path / "other.yaml", tmp_path / "s"
    code, said = trial(other, daemon.conf_path.read_text())
    assert code == 0, said
    for key, path in (("bind", f"{tmp_path}/web"), ("status.socket", daemon.sock)):
        assert (f"{key}: nobody can listen on unix:{path} now: it is in use: process {daemon.pid} "
                "(weir)") in said, said
    done = subprocess.run([binary("weir"), "-c", str(other)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and f"in use: process {daemon.pid} (weir)" in done.stderr, done
    text = base(tmp_path, listeners=f'[{{bind: "unix:{sock}"}}]')
    with socket.socket(socket.AF_UNIX) as program:
        program.bind(str(sock))
        assert "in use" not in trial(other, text)[1], "nobody listens yet"
        program.listen()
        said = trial(other, text)[1]
        assert f"unix:{sock} now: it is in use: process {os.getpid()} (" in said, said
    sock.unlink()
    sock.write_text("")
    assert "what is there is no socket" in trial(other, text)[1]


@pytest.mark.parametrize("limits, descriptors, warned", [
    ("{connections: 9000}", 8192, True), ("{}", 8192, False), ("{}", 500, True),
    ("{connections: 300}", 500, False), ("{connections: 0}", 8192, True)])
def test_limits_against_descriptors(tmp_path, limits, descriptors, warned):
    """The default is for anybody and said only where few clients are possible at all."""
    code, said = trial(tmp_path / "c.yaml", base(
        tmp_path, listeners=f"[{{bind: 127.0.0.1:{free_port()}, limits: {limits}}}]"),
        ["prlimit", f"--nofile={descriptors}:{descriptors}"])
    assert code == 0 and (f"may open {descriptors} descriptors" in said) == warned, said


def started(conf, wrapper):
    """The exit status and what was said: a start that is ready is ended, with 0."""
    with subprocess.Popen([*wrapper, binary("weir"), "-c", str(conf)], stderr=subprocess.PIPE,
                          text=True) as daemon:
        said = ""
        for line in daemon.stderr:
            said += line
            if " ready: " in line:
                daemon.send_signal(signal.SIGINT)
        return daemon.wait(timeout=30), said


FULL = """for ((i = 3; i < 3 + %d; i++)); do eval "exec $i</dev/null"; done; ulimit -n %d; exec "$@" """


def test_too_few_descriptors_to_serve_anybody(tmp_path):
    """A start names what it needs, as -t does, or it serves; it never breaks off on its way."""
    conf, least = tmp_path / "c.yaml", None
    conf.write_text(base(tmp_path, workers="2"))
    for n in range(4, 65):
        wrapper = ["prlimit", f"--nofile={n}:{n}"]
        code, said = trial(conf, None, wrapper)
        sentence = f"the process may open {n} descriptors, but "
        assert (code == 1) == (sentence in said) and code in (0, 1), said
        assert code == 0 or "is ok" not in said, said
        if n < 30 or n % 8 == 0:
            real, log = started(conf, wrapper)
            assert real == code and (sentence in log) == (sentence in said), (n, real, log)
        least = least or (n if code == 0 else None)
    for others in range(1, least - 4):  # somebody left them open
        code, log = started(conf, ["bash", "-c", FULL % (others, least), "weir"])
        assert code in (0, 1) and "internal error" not in log and "Sanitizer" not in log, (others, log)
        assert code == 0 or "weir: " in log, (others, log)


def test_no_file(tmp_path):
    done = subprocess.run([binary("weir"), "-c", f"{tmp_path}/none"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "--listen :8080 --backend" in done.stderr


def test_texts_of_weirctl(weir, app):
    backend = app(2)
    daemon = weir([{"name": n, "address": a} for n, a in zip(("web1", "web2"), backend.addresses)])
    said = daemon.ctl("drain", "web1", check=2).stderr
    assert said.rstrip().endswith("did you mean app/web1?")
    assert '"weirctl backends app" lists them' in daemon.ctl("drain", "app", check=2).stderr
    assert '"weirctl backends" lists them' in daemon.ctl("drain", "nope", check=2).stderr
    left = "pool app has no backend left that takes requests"
    assert left not in daemon.ctl("drain", "app/web1", check=0).stdout
    assert left in daemon.ctl("maintenance", "app/web2", check=0).stdout
    assert left not in daemon.ctl("enable", "app/web2", check=0).stdout
    assert left in daemon.ctl("weight", "app/web2", "0", check=0).stdout
    assert left in daemon.ctl("remove", "app/web2", check=0).stdout


def test_no_socket_dead_socket_no_daemon(tmp_path):
    def says(path):
        done = subprocess.run([binary("weirctl"), "-s", str(path), "status"], capture_output=True,
                              text=True, check=False)
        assert done.returncode == 3
        return done.stderr
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/dead.sock")
    assert "is weir running?" in says(tmp_path / "none.sock")
    assert "weir is not running" in says(tmp_path / "dead.sock")
    (tmp_path / "file").write_text("")
    assert "is no socket" in says(tmp_path) and "is no socket" in says(tmp_path / "file")


def test_slow_names_uploads(weir, app):
    """Also those whose body is too large to be kept for another try."""
    daemon = weir(app(defaults="service=20ms").addresses, pool={"retry": {"buffer": "4KiB"}})
    daemon.ask("POST", "/upload/of/something?large", body=b"x" * 200000)
    rows = wait_for(lambda: daemon.admin.get("/v1/pools/app/slow")["slow"])
    assert (rows[0]["method"], rows[0]["path"]) == ("POST", "/upload/of/something?large")


def test_members_in_files_are_read(tmp_path):
    """A mistake in what a source would read is one; a file that is not there yet may come."""
    conf, members = tmp_path / "c.yaml", tmp_path / "members.yaml"
    text = base(tmp_path, pools=f"{{app: {{discover: {{file: {members}}}}}}}")
    code, said = trial(conf, text)
    assert code == 0 and f"{members} cannot be read now" in said, said
    members.write_text("- {address: 127.0.0.1:1}\n- {address: 127.0.0.1:2, wieght: 3}\n")
    code, said = trial(conf, text)
    assert code == 1 and f"{members}:2:" in said and "wieght" in said, said
    members.write_text("- {address: 127.0.0.1:1}\n")
    assert trial(conf, text)[0] == 0


@pytest.mark.parametrize("bind, backend, circle", [
    ("127.0.0.1", "127.0.0.1", True), ("0.0.0.0", "127.0.0.3", True), ("*", "[::1]", True),
    ('"[::]"', "localhost", True), ("127.0.0.1", "localhost", True),
    ("127.0.0.1", "127.0.0.2", False), ("0.0.0.0", "[::1]", False), ("0.0.0.0", "10.254.253.252", False)])
def test_a_backend_that_is_weir_itself(tmp_path, bind, backend, circle):
    conf, port = tmp_path / "c.yaml", free_port()
    bind = bind.strip('"')
    code, said = trial(conf, base(
        tmp_path, listeners=f'[{{name: web, bind: "{bind}:{port}"}}]',
        pools=f'{{app: {{backends: ["127.0.0.1:1", "{backend}:{port}"]}}}}'))
    assert code == 0 and ("is the listener 'web' of this weir" in said) == circle, said
