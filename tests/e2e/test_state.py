# SPDX-License-Identifier: MIT
"""What outlives the process: history, changes made at run time, pins and what was learned."""
import os
import pwd
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
import yaml

from backends import binary
from daemon import Admin, make_conf, preloading
from test_handover import ended, hand_over, lineage  # noqa: F401 (a fixture)
from wire import wait_for

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def kept(weir, app, tmp_path):
    """kept(**conf) -> daemon with a directory; a second call starts another in its place."""
    backend = app(3)
    rows = [{"name": f"web{i + 1}", "address": a} for i, a in enumerate(backend.addresses)]
    state = {"directory": str(tmp_path / "state")}

    def start(conf=None, env=None, wrapper=(), **more):
        more.setdefault("state", state)
        conf = conf or make_conf(tmp_path, rows, **more)
        daemon = weir(conf=conf, env=env, wrapper=wrapper, status_socket=tmp_path / "weir-0.sock")
        daemon.fd_check = False  # the thread opens its files when it likes
        daemon.state = Path(conf.get("state", state)["directory"])
        return daemon
    return start


def past(daemon, query="", since="-1h", step="1m"):
    return daemon.admin.get(f"/v1/history?since={since}&step={step}{query}")


def requests(daemon, query="&pool=app", **kwargs):
    return sum(row["requests"] for row in past(daemon, query, **kwargs)["rows"])


def problems(daemon):
    return [p for p in daemon.admin.get("/v1/status")["problems"] if "state" in p or "history" in p]


def ask(daemon, n=40):
    with daemon.connect() as client:
        assert {client.ask("GET", "/").status for _ in range(n)} == {200}
    wait_for(lambda: requests(daemon) >= n, what="the requests are in the open minute")


def test_a_restart_knows_what_was(kept):
    daemon = kept()
    ask(daemon)
    daemon.ctl("drain", "app/web1", check=0)
    daemon.ctl("weight", "app/web2", "7", check=0)
    daemon.ctl("add", "app", daemon.conf["pools"]["app"]["backends"][0]["address"], "--name",
               "more", check=0)
    daemon.finish()
    assert {f.name for f in daemon.state.iterdir()} >= {"history.db", "runtime.state",
                                                        "learned.state"}
    assert all(f.stat().st_mode & 0o077 == 0 for f in daemon.state.iterdir() if f.is_file())
    again = kept(daemon.conf)
    rows = again.backends()
    assert rows["web1"]["state"] == "draining" and rows["web2"]["weight"] == 7 and rows["more"]
    assert requests(again) == 40 and requests(again, step="1h") == 40
    assert sum(requests(again, f"&pool=app&backend=web{i}") for i in (1, 2, 3)) == 40
    [row] = [r for r in past(again, "&pool=app", step="1d")["rows"] if r["requests"]]
    assert 0 < row["p50_us"] <= row["p99_us"] and row["errors"] == 0
    pools = past(again)["pools"]
    assert [p["pool"] for p in pools] == ["app"]
    said = [(m["kind"], m["backend"]) for m in past(again, "&pool=app")["markers"]]
    for marker in (("weight", "web2"), ("add", "more"), ("state", "web1"), ("start", None)):
        assert marker in said, said
    assert "known from before the start: statistics of 4 backends in 1 pool" in again.stderr
    assert "3 changes made at run time before the start are in force again" in again.stderr
    assert sum(b["requests"] for b in again.backends().values()) == 0, "counters begin anew"
    said = again.ctl("history", "--since", "-2h", check=0).stdout
    assert "app\n" in said and "weight 7, set by an operator" in said
    again.ctl("reset", check=0)
    again.finish()
    third = kept(daemon.conf)
    assert set(third.backends()) == {"web1", "web2", "web3"}
    assert {b["state"] for b in third.backends().values()} == {"up"}


def test_what_was_learned_comes_back(kept, weir):
    """The curve: time and completions by the number in flight."""
    daemon = kept(insight={"interval": "1s"})
    clients = [daemon.connect() for _ in range(6)]
    for _ in range(60):
        for client in clients:
            client.send(b"GET /?service=2ms HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients:
            assert client.response().status == 200

    def points(d):
        return d.admin.get("/v1/pools/app/scaling")["curve"]
    before = wait_for(lambda: points(daemon), what="a curve")
    for client in clients:
        client.close()
    daemon.finish()
    again = kept(daemon.conf)
    after = wait_for(lambda: points(again), what="the curve of before")
    assert {round(p["in_flight"]) for p in before} & {round(p["in_flight"]) for p in after}


def test_pins_outlive_the_process(kept):
    daemon = kept(pool={"sticky": {"cookie": "pin"}})
    first = daemon.ask()
    cookie = first.get("Set-Cookie").partition(";")[0]
    where = first.get("X-App") or first.body
    daemon.finish()
    again = kept(daemon.conf)
    for _ in range(6):
        answer = again.ask(headers=[("Cookie", cookie)])
        assert (answer.get("X-App") or answer.body) == where
        assert not answer.get("Set-Cookie"), "the pin is known"


@pytest.mark.slow
def test_kill_loses_a_minute_at_most(kept):
    daemon = kept()
    ask(daemon)
    daemon.ctl("weight", "app/web2", "7", check=0)

    def stored():
        path = daemon.state / "history.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            events = db.execute("SELECT count(*) FROM event WHERE kind = 'weight'").fetchone()[0]
            return events and db.execute("SELECT count(*) FROM minute").fetchone()[0]
    wait_for(stored, 90, "a minute and the event are in the file")
    daemon.checked = True
    daemon.kill(signal.SIGKILL)
    daemon.wait()
    again = kept(daemon.conf)
    assert again.backends()["web2"]["weight"] == 7
    assert requests(again) == 40
    assert not problems(again)


def test_a_damaged_history_costs_history_only(kept):
    daemon = kept()
    ask(daemon)
    daemon.ctl("weight", "app/web2", "7", check=0)
    daemon.finish()
    (daemon.state / "history.db").write_bytes(b"x" * 5000)
    learned = (daemon.state / "learned.state").read_bytes()
    (daemon.state / "learned.state").write_bytes(learned[:-9])
    again = kept(daemon.conf)
    wait_for(lambda: problems(again), what="a problem is told")
    assert "was damaged: it is history.db.broken now" in problems(again)[0]
    assert "learned.state is left out: it is cut" in again.stderr
    assert (again.state / "history.db.broken").read_bytes() == b"x" * 5000
    assert again.backends()["web2"]["weight"] == 7, "this is in another file"
    ask(again, 10)
    assert requests(again) == 10
    (again.state / "runtime.state").write_bytes(b"nonsense")
    again.finish()
    third = kept(daemon.conf)
    assert requests(third) == 10 and not problems(third)


FULL = "size=32k none {0} && dd if=/dev/zero of={0}/full bs=1k count=64 2>/dev/null"
READ_ONLY = "rw none {0} && mount -o remount,ro {0}"


@ROOT
@pytest.mark.parametrize("how, why", [(FULL, "full"), (READ_ONLY, "Read-only file system")],
                         ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_costs_history_only(kept, tmp_path, how, why):
    """In a mount namespace of the daemon's own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o {how.format(disk)}; exec "$@"'
    wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    daemon = kept(wrapper=wrapper, state={"directory": str(disk)})
    wait_for(lambda: problems(daemon), what="a problem is told")
    assert "cannot be written" in problems(daemon)[0] and why in problems(daemon)[0]
    assert daemon.admin.metrics()["weir_state_problems"] >= 1
    with daemon.connect() as client:
        assert {client.ask("GET", "/").status for _ in range(100)} == {200}
    answer = past(daemon, "&pool=app")
    assert answer["stored"] is False and answer["why"]
    wait_for(lambda: requests(daemon) == 100, what="what is not stored is told")
    daemon.ctl("weight", "app/web2", "7", check=0)
    assert daemon.backends()["web2"]["weight"] == 7


@pytest.fixture
def jumping(tmp_path):
    """(what a daemon needs to have a clock that can be set, how to set it)"""
    ahead = tmp_path / "ahead"
    ahead.write_text("0")

    def jump(seconds):
        (tmp_path / "ahead.new").write_text(str(seconds))
        (tmp_path / "ahead.new").replace(ahead)
    return preloading(tmp_path, "jump_clock", JUMP_CLOCK_FILE=str(ahead)), jump


@pytest.mark.parametrize("ahead, text", [(40 * 86400, "the clock has jumped forward by "),
                                         (-7200, "the clock has jumped back by ")])
def test_a_clock_that_jumps_is_told(kept, jumping, ahead, text):
    """And nothing that is stored is lost by it, though it is 40 days old all at once."""
    env, jump = jumping
    daemon = kept(env=env)
    ask(daemon)
    daemon.ctl("weight", "app/web2", "7", check=0)
    assert not problems(daemon)
    jump(ahead)
    said = wait_for(lambda: [p for p in daemon.admin.get("/v1/status")["problems"] if text in p],
                    what="the jump is told")[0]
    assert "the history" in said and "the clock has jumped" in daemon.stderr
    assert text in daemon.ctl("status").stdout
    assert text in daemon.ctl("doctor").stdout
    assert daemon.admin.metrics()["weir_state_problems"] == 1
    with daemon.connect() as client:
        assert {client.ask("GET", "/").status for _ in range(20)} == {200}
    jump(0)
    daemon.finish()
    again = kept(daemon.conf)
    assert requests(again, since="-2h") >= 40
    assert ("weight", "web2") in [(m["kind"], m["backend"])
                                  for m in past(again, "&pool=app")["markers"]]


@pytest.mark.slow
def test_two_weirs_in_one_directory(kept, weir, app, tmp_path):
    """The one that comes first keeps it; the other one serves, and says what it cannot keep."""
    first = kept()
    ask(first)
    second = weir(conf=make_conf(tmp_path, app(1).addresses, state=first.conf["state"],
                                 status={"socket": str(tmp_path / "second.sock")}),
                  status_socket=tmp_path / "second.sock")
    second.fd_check = False
    second.ask()
    said = wait_for(lambda: problems(second), 30, "the second one says why it keeps nothing")
    assert "another weir keeps its own there" in said[0]
    second.ask()
    assert not problems(first)
    first.ctl("weight", "app/web2", "7", check=0)
    second.finish()
    first.finish()
    again = kept(first.conf)
    assert again.backends()["web2"]["weight"] == 7 and requests(again) == 40


@pytest.mark.other_user
def test_files_are_those_of_user(kept, tmp_path):
    """The directory is made for him, by root; the sandbox is on."""
    nobody = pwd.getpwnam("nobody")
    tmp_path.chmod(0o1777)
    (tmp_path / "lib").mkdir(mode=0o755)  # as /var/lib is: he could not make it himself
    daemon = kept(user="nobody", sandbox="on",
                  state={"directory": str(tmp_path / "lib" / "weir")})
    ask(daemon, 10)
    daemon.ctl("weight", "app/web2", "7", check=0)
    daemon.finish()
    assert {f.stat().st_uid for f in (daemon.state, *daemon.state.iterdir())} == {nobody.pw_uid}
    again = kept(daemon.conf)
    assert again.backends()["web2"]["weight"] == 7 and requests(again) == 10


def test_the_service_managers_directory(kept, tmp_path):
    """systemd's StateDirectory=; without that or a key nothing is kept."""
    folder = tmp_path / "managed"
    folder.mkdir()
    daemon = kept(make_conf(tmp_path, ["127.0.0.1:9"]), env={"STATE_DIRECTORY": str(folder)})
    assert daemon.admin.get("/v1/status")["state"]["directory"] == str(folder)
    daemon.finish()
    assert (folder / "history.db").exists()
    without = kept(make_conf(tmp_path, ["127.0.0.1:9"]))
    assert without.admin.get("/v1/status")["state"]["on"] is False
    answer = without.admin.call("GET", "/v1/history?since=-1h")
    assert answer.status == 409 and "'state' is not in the configuration" in answer.json()["error"]
    assert without.ctl("history", "--since", "-1h").returncode == 1


def test_a_hand_over_goes_on_with_the_history(lineage, app, tmp_path):  # noqa: F811
    backend = app()
    daemon = lineage(backend.addresses, state={"directory": str(tmp_path / "state")})
    ask(daemon)
    new = hand_over(daemon, daemon.pid)
    ended(daemon)
    admin = Admin(daemon.sock)
    rows = wait_for(lambda: [r for r in admin.get("/v1/history?since=-1h&pool=app&step=1m")["rows"]
                             if r["requests"]], what="what the first one had is stored")
    assert sum(r["requests"] for r in rows) == 40
    assert admin.get("/v1/status")["pid"] == new


@pytest.mark.parametrize("query", ["since=tomorrow", "since=-1h&step=7s", "since=-1h&step=90s",
                                   "since=-30d&step=1m", "since=-5d&step=15m",
                                   "since=-1h&backend=web1",
                                   "since=-1h&until=-2h"])
def test_questions_that_cannot_be_answered(kept, query):
    daemon = kept()
    answer = daemon.admin.call("GET", f"/v1/history?{query}")
    assert answer.status == 400 and answer.json()["error"]


def test_a_verdict_that_changes_is_an_event(kept):
    daemon = kept(insight={"interval": "1s"})

    def told():
        daemon.ask()
        return [e for e in daemon.events() if e["kind"] == "verdict"]
    with daemon.connect() as client:
        for _ in range(700):
            client.ask("GET", "/")
    event = wait_for(told, what="an event tells the verdict")[0]
    verdict, _, sentence = event["message"].partition(": ")
    assert event["pool"] == "app" and verdict != "not_enough_data" and sentence


def test_a_trial_looks_at_the_directory(tmp_path):
    conf = make_conf(tmp_path, ["127.0.0.1:9"], state={"directory": str(tmp_path / "no" / "such")})
    path = tmp_path / "weir.yaml"
    path.write_text(yaml.safe_dump(conf))
    done = subprocess.run([binary("weir"), "-t", "-c", str(path)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "state.directory: " in done.stderr, done.stderr
    (tmp_path / "no").mkdir()
    done = subprocess.run([binary("weir"), "-t", "-c", str(path)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
