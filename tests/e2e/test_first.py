# SPDX-License-Identifier: MIT
"""The first minutes: what weir says without a file, short addresses, weir init, where weirctl looks."""
import functools
import os
import re
import subprocess
import sys

import pytest
import yaml

from backends import App, binary, free_port
from daemon import Weir
from terminal import COMPLETION, zsh_completes
from wire import SLOW, Client, wait_for


def run(*args, cwd=None, env=None, program="weir"):
    return subprocess.run([binary(program), *map(str, args)], capture_output=True, text=True, cwd=cwd,
                          timeout=60 * SLOW, stdin=subprocess.DEVNULL, check=False,
                          env={**os.environ, **(env or {})})


def test_without_a_file_weir_says_what_to_try(tmp_path):
    done = run("-c", tmp_path / "none.yaml")
    assert done.returncode == 1
    for way in ("weir init", "weir --listen :8080 --backend :3000", "weir -c FILE"):
        assert way in done.stderr


@pytest.mark.parametrize("listen,backend,bind,address", [
    (":8080", ":3000", "0.0.0.0:8080", "127.0.0.1:3000"),
    ("8080", "3000", "0.0.0.0:8080", "127.0.0.1:3000"),
    ("localhost:8080", "localhost:3000", "127.0.0.1:8080", "127.0.0.1:3000"),
    ("[::1]:8080", "10.0.0.1:3000", "[::1]:8080", "10.0.0.1:3000"),
])
def test_short_addresses(listen, backend, bind, address):
    done = run("--listen", listen, "--backend", backend, "-T")
    conf = yaml.safe_load(done.stdout)
    assert done.returncode == 0, done.stderr
    assert bind in str(conf["listeners"][0]["bind"])
    assert conf["pools"]["app"]["backends"][0]["address"] == address


def test_short_addresses_that_are_none():
    done = run("--listen", ":http", "--backend", ":3000", "-t")
    assert done.returncode == 1 and "--listen" in done.stderr


def in_a_network_of_its_own(test):
    """weir init asks whoever listens on loopback: not the servers of other tests."""
    @functools.wraps(test)
    def wrapper(tmp_path):
        if "WEIR_OWN_NETWORK" in os.environ:
            test(tmp_path)
            return
        if os.geteuid() != 0:
            pytest.skip("needs root")
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable,
             "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{test.__name__}"],
            env={**os.environ, "WEIR_OWN_NETWORK": "1"}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return wrapper


@in_a_network_of_its_own
def test_init_writes_what_serves(tmp_path):
    app = App(tmp_path, 2)
    try:
        done = run("init", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        path = tmp_path / "weir.yaml"
        text = path.read_text()
        for address in app.addresses:  # other tests have servers, too: then it may be a comment
            port = address.rpartition(":")[2]
            assert re.search(rf"127\.0\.0\.1:{port}\b", text), text
            assert re.search(rf"^  (backend|left out) port {port}, ", done.stdout, re.M), done.stdout
        assert run("-t", "-c", path).returncode == 0
        again = run("init", cwd=tmp_path)
        assert again.returncode == 1 and "is there already" in again.stderr
        assert path.read_text() == text
    finally:
        app.stop()


@in_a_network_of_its_own
def test_what_init_wrote_runs(tmp_path):
    path = tmp_path / "site.yaml"
    assert run("init", path).returncode == 0
    conf = yaml.safe_load(path.read_text())
    port = free_port()
    conf["listeners"][0]["bind"] = f"127.0.0.1:{port}"
    conf["status"] = {"socket": str(tmp_path / "weir-0.sock")}
    daemon = Weir(tmp_path, conf)
    try:
        with Client(port) as client:
            assert client.ask().status
    finally:
        daemon.stop()


@pytest.mark.parametrize("args", [("init", "a", "b"), ("-c", "a", "init", "b"), ("-t", "init")])
def test_init_with_wrong_usage(tmp_path, args):
    assert run(*args, cwd=tmp_path).returncode == 2
    assert not list(tmp_path.iterdir())


@in_a_network_of_its_own
def test_init_where_nothing_may_be_written(tmp_path):
    done = run("init", tmp_path / "none" / "weir.yaml")
    assert done.returncode == 1 and "cannot write" in done.stderr


def test_a_site_without_pools(weir):
    daemon = weir(routes=[{"respond": {"body": "hello\n"}}])
    assert daemon.ask().body == b"hello\n"
    assert daemon.pools() == []
    for command in ("status", "pools", "doctor"):
        assert daemon.ctl(command).returncode == 0


def test_weirctl_finds_the_socket_of_the_user(tmp_path):
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "WEIR_SOCKET": ""}
    none = run("status", env=env, program="weirctl")
    assert none.returncode == 3
    assert "is weir running?" in none.stderr and "-s or $WEIR_SOCKET" in none.stderr
    if os.geteuid() == 0:
        assert "/run/weir/weir.sock" in none.stderr
        return
    app = App(tmp_path, 1)
    child = subprocess.Popen([binary("weir"), "--listen", f"127.0.0.1:{free_port()}", "--backend",
                              app.addresses[0]], env={**os.environ, **env})
    try:
        wait_for(lambda: run("status", env=env, program="weirctl").returncode == 0)
    finally:
        child.terminate()
        child.wait()
        app.stop()


# ---- completion ----

WORDS = pytest.mark.parametrize("words,wanted", [
    (["--sch"], ["--schema"]), (["in"], ["init"]), (["--balance", "round"], ["round-robin"])])


@WORDS
def test_completion_of_bash(words, wanted):
    words = ["weir", *words]
    script = (f'PATH={os.path.dirname(binary("weir"))}:$PATH; . {COMPLETION}/weir.bash; '
              f'COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _weir; printf "%s\\n" "${{COMPREPLY[@]}}"')
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True,
                          timeout=60 * SLOW, check=True)
    assert done.stdout.split() == wanted and done.stderr == ""


@WORDS
def test_completion_of_fish(tmp_path, words, wanted):
    script = (f"set -x PATH {os.path.dirname(binary('weir'))} $PATH; set -p fish_complete_path "
              f"{COMPLETION}; complete -C $argv[1]")
    done = subprocess.run(["fish", "--no-config", "-c", script, " ".join(["weir", *words])],
                          capture_output=True, text=True, timeout=60 * SLOW, check=True,
                          env={**os.environ, "HOME": str(tmp_path)})
    assert [row.partition("\t")[0] for row in done.stdout.splitlines()] == wanted


@WORDS
def test_completion_of_zsh(tmp_path, words, wanted):
    zsh_completes(tmp_path, binary("weir"), words, wanted)
