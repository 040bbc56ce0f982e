# SPDX-License-Identifier: MIT
"""A program in a terminal that can be typed at and looked at: a tmux server of its own."""
import os
import shlex
import subprocess
from pathlib import Path

from wire import wait_for


COMPLETION = Path(__file__).resolve().parents[2] / "src" / "ctl" / "completion"


class Terminal:
    def __init__(self, folder, argv, width=150, height=24, env=None):
        self.server = str(folder / "tmux.sock")
        command = shlex.join([str(a) for a in argv])
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                  f"{command}; echo ended with $?; exec cat",
                  env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})})

    def tmux(self, *args, env=None):
        done = subprocess.run(["tmux", "-u", "-S", self.server, *args], capture_output=True,
                              text=True, timeout=60, env=env, check=False)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def until(self, found, timeout=10):
        """The first screen that has the text, or for which the function is true."""
        test = found if callable(found) else lambda screen: found in screen
        last = [""]

        def look():
            last[0] = self.screen()
            return test(last[0]) and last[0]
        try:
            return wait_for(look, timeout, found)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[0]}") from None

    def stop(self):
        self.tmux("kill-server")


def zsh_completes(folder, program, words, wanted):
    """At a real prompt: what Tab writes, or offers."""
    term = Terminal(folder, ["zsh", "-f", "-i"], width=300,
                    env={"HOME": str(folder), "PATH": f"{Path(program).parent}:{os.environ['PATH']}"})
    try:
        term.until(lambda screen: screen.strip())  # a prompt
        term.keys(f"fpath=({COMPLETION} $fpath); autoload -U compinit; compinit -u -D; clear; "
                  "PS1='ready> '", "Enter")
        term.until(lambda screen: screen.startswith("ready>"))
        term.keys(" ".join([Path(program).name, *words]), "Tab")
        if len(wanted) == 1:
            term.until(wanted[0])
            return
        term.keys("Tab")
        term.until(lambda screen: all(word in screen.split("\n", 1)[1].split() for word in wanted))
    finally:
        term.stop()
