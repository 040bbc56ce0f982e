# SPDX-License-Identifier: MIT
"""weirctl as a program: completion, wrong usage, answers that are none, the terminal."""
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from backends import Process
from terminal import COMPLETION, zsh_completes
from test_ctl_fake import WEIRCTL, backend, ctl, environment, fake  # noqa: F401, pylint: disable=unused-import
from wire import wait_for


WORDS = pytest.mark.parametrize("words,wanted", [
    (["dr"], ["drain"]), (["drain", "app/"], ["app/b1", "app/b2"]), (["backends", "a"], ["app", "api"]),
    (["histogram", "app", "--window", ""], ["10s", "1m", "5m", "start"]), (["--rea"], ["--read-only"]),
    (["reset", "app/"], ["app/b1", "app/b2"]), (["mark", "deploy", "app/"], ["app/b1", "app/b2"])])


@WORDS
def test_completion_of_bash(fake, words, wanted):
    words = ["weirctl", "-s", fake.path, *words]
    script = (f'PATH={Path(WEIRCTL).parent}:$PATH; . {COMPLETION}/weirctl.bash; '
              f'COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _weirctl; printf "%s\\n" "${{COMPREPLY[@]}}"')
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True,
                          timeout=20, env=environment(), check=True)
    assert done.stdout.split() == wanted and done.stderr == ""


@WORDS
def test_completion_of_fish(fake, tmp_path, words, wanted):
    line = " ".join(["weirctl", "-s", fake.path, *words])
    script = (f"set -x PATH {Path(WEIRCTL).parent} $PATH; set -p fish_complete_path {COMPLETION}; "
              "complete -C $argv[1]")
    done = subprocess.run(["fish", "--no-config", "-c", script, line], capture_output=True, text=True,
                          timeout=30, env=environment(HOME=str(tmp_path)), check=True)
    assert sorted(row.partition("\t")[0] for row in done.stdout.splitlines()) == sorted(wanted)
    assert done.stderr == ""


@WORDS
def test_completion_of_zsh(fake, tmp_path, words, wanted):
    zsh_completes(tmp_path, WEIRCTL, ["-s", fake.path, *words], wanted)


# ---- failures ----

def test_refusals_of_the_api_are_printed(fake):
    done = ctl("-s", fake.path, "backends", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "weirctl: no such pool: nope\n"


@pytest.mark.parametrize("raw", [
    b"", b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}xx\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n" + b"a: " + b"b" * 9000 + b"\r\n\r\n",
])
def test_broken_answers_are_no_answers(fake, raw):
    fake.raw = raw
    done = ctl("-s", fake.path, "status")
    assert done.returncode == 1
    assert "is no complete HTTP/1.1 response" in done.stderr


def test_an_error_without_json_still_has_its_status(fake):
    fake.raw = b"HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nnope"
    done = ctl("-s", fake.path, "status")
    assert done.returncode == 1 and done.stderr == "weirctl: weir answered with status 503\n"


def test_unreachable_is_3_and_says_what_to_check(tmp_path):
    nobody = tmp_path / "dead.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(nobody))
    dead.close()
    for path, sentence in ((tmp_path / "none.sock", "is weir running?"),
                           (nobody, "nobody listens on"), ("/" + "x" * 200, "cannot connect to")):
        done = ctl("-s", str(path), "status")
        assert (done.returncode, done.stdout) == (3, "")
        assert sentence in done.stderr
    if os.geteuid() != 0:
        nobody.chmod(0)
        assert "no permission to use" in ctl("-s", str(nobody), "status").stderr


def test_a_silent_daemon_is_given_up(fake, tmp_path):
    """However often weirctl itself is stopped meanwhile."""
    fake.silent = True
    child = Process([WEIRCTL, "-s", fake.path, "status"], tmp_path, "weirctl", env=environment())

    def over():
        for number in (signal.SIGSTOP, signal.SIGCONT):
            if child.alive():
                child.kill(number)
                time.sleep(0.1)
        return not child.alive()
    wait_for(over, what="it gives up")
    assert child.child.returncode == 3
    assert "does not answer" in child.stderr


@pytest.mark.parametrize("args, sentence", [
    ([], "which command?"),
    (["statsu"], 'unknown command "statsu"; did you mean "status"?'),
    (["conn"], 'did you mean "connections"?'),
    (["frobnicate"], "weirctl --help lists them"),
    (["status", "x"], "status takes no arguments"),
    (["drain"], "drain takes POOL/BACKEND"),
    (["drain", "app"], "names no backend"),
    (["drain", "/b"], "is not of the form POOL/BACKEND"),
    (["drain", "app/"], "is not of the form POOL/BACKEND"),
    (["weight", "app/b1"], "weight takes POOL/BACKEND N"),
    (["status", "--phase", "x"], "status takes no --phase"),
    (["drain", "app/b1", "-w"], "drain takes no -w"),
    (["drain", "app/b1", "-f"], "drain takes no -f"),
    (["-w0", "status"], "-w takes 0.1 to 86400 seconds"),
    (["-wx", "status"], "-w takes 0.1 to 86400 seconds"),
    (["-x", "status"], "unknown option -x"),
    (["--frob", "status"], "option --frob is unknown"),
    (["status", "-s"], "option -s needs a value"),
    (["explain", "GET", "/", "-H", "nocolon"], "-H takes 'NAME: VALUE'"),
    (["backends", "app/b1"], "backends takes a pool"),
    (["check", "--json"], "check takes no --json"),
])
def test_wrong_usage_is_2(fake, args, sentence):
    done = ctl(*args, env=environment(WEIR_SOCKET=fake.path))
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert [request for request in fake.requests if request[0] != "GET"] == []


def test_help_knows_every_command():
    out = ctl("--help").stdout
    commands = re.findall(r"^  ([a-z]+)\b", out.split("options:")[0], re.M)
    assert {"status", "pools", "check", "remove", "histogram"} <= set(commands)
    for command in commands:
        done = ctl(command, "--help")
        assert done.returncode == 0 and done.stdout.startswith("usage: weirctl ")
    assert ctl("-V").stdout.startswith("weirctl ")


def test_the_manual_knows_every_command():
    page = (Path(__file__).resolve().parents[2] / "man" / "weirctl.1").read_text()
    for command in re.findall(r"^  ([a-z]+)\b", ctl("--help").stdout.split("options:")[0], re.M):
        assert re.search(rf"^\.It (Cm|Ic) {command}\b", page, re.M), command


def test_the_default_socket():
    if os.geteuid() == 0:
        assert "no socket at /run/weir/weir.sock" in ctl("status").stderr
    else:
        assert "no socket at /nowhere/weir.sock" in ctl(
            "status", env=environment(XDG_RUNTIME_DIR="/nowhere")).stderr
        assert f"/tmp/weir-{os.geteuid()}/weir.sock" in ctl("status").stderr
    assert "no socket at /else" in ctl("status", env=environment(WEIR_SOCKET="/else")).stderr


# ---- terminal ----

def on_terminal(args, enough, env=None, lines=0):
    """What weirctl writes to a terminal until `enough(text)`; then it is ended."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
    process = subprocess.Popen([WEIRCTL, *args], stdout=slave, stderr=slave, close_fds=True,
                               env=env or environment(TERM="xterm"))
    os.close(slave)
    text, deadline = "", time.monotonic() + 20
    while not enough(text) and time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            text += os.read(master, 65536).decode()
        except OSError:
            break
    process.terminate()
    process.wait()
    os.close(master)
    return text


def test_state_is_coloured_on_a_terminal_only(fake):
    def done(text):
        return "refused" in text

    assert "\033[31m41 s: connect" in on_terminal(["-s", fake.path, "backends"], done)
    for extra in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        assert "\033" not in on_terminal(["-s", fake.path, "backends"], done, environment(**extra))


def test_watching_redraws_on_a_terminal(fake):
    text = on_terminal(["-s", fake.path, "-w0.1", "pools"], lambda t: t.count("POOL") >= 3)
    assert text.startswith("\033[2J")
    assert text.count("\033[H") >= 3


def test_watching_keeps_to_the_terminal(fake):
    fake.world["pools"][0]["backends"] += [backend(f"x{i}") for i in range(40)]
    text = on_terminal(["-s", fake.path, "-w0.1", "backends"], lambda t: t.count("BACKEND") >= 3,
                       lines=10)
    pictures = text.split("\033[H")[1:]
    assert pictures[1].count("\n") == 9
    assert pictures[1].startswith("\033[?7l"), "long lines are cut"


def test_watching_appends_elsewhere(fake):
    for flags, first in ((["-w0.1"], "POOL"), (["-w0.1", "--json"], '{"pools":[')):
        with subprocess.Popen([WEIRCTL, "-s", fake.path, *flags, "pools"], text=True,
                              stdout=subprocess.PIPE, env=environment()) as process:
            seen = 0
            while seen < 3:
                line = process.stdout.readline()
                assert "\033" not in line
                seen += line.startswith(first)
            process.terminate()
            process.stdout.read()
