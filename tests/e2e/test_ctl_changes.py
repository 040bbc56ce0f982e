# SPDX-License-Identifier: MIT
"""weirctl against a fake daemon: what it changes, and the check of a monitor."""
import subprocess
import threading
import time

from test_ctl_fake import WEIRCTL, ctl, environment, fake, good, rows  # noqa: F401, pylint: disable=unused-import


def test_drain_and_its_undo(fake):
    out = good(fake, "drain", "app/b1")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends/b1", {"state": "drain"})
    assert rows(out)[1][1] == "draining" and rows(out)[1][-1] == "0 s: by request"
    assert out.endswith(f"undo: weirctl -s {fake.path} enable app/b1\n")
    assert good(fake, "drain", "app/b1").endswith("nothing changed: it was so before\n")
    assert good(fake, "maintenance", "app/b1").endswith(" drain app/b1\n")
    assert good(fake, "enable", "app/b1").endswith(" maintenance app/b1\n")
    assert fake.requests[-1][2] == {"state": "up"}


def test_the_undo_names_no_socket_when_none_was_given(fake):
    done = ctl("drain", "app/b1", env=environment(WEIR_SOCKET=fake.path))
    assert done.stdout.endswith("undo: weirctl enable app/b1\n")


def test_drain_waits_until_nothing_is_in_flight(fake):
    row = fake.world["pools"][0]["backends"][0]
    threading.Timer(0.6, row.update, kwargs={"in_flight": 0}).start()
    started = time.monotonic()
    out = good(fake, "drain", "app/b1", "--wait")
    assert time.monotonic() - started > 0.5
    assert rows(out)[1][4] == "0"


def test_drain_stops_waiting_when_somebody_enables(fake):
    row = fake.world["pools"][0]["backends"][0]
    threading.Timer(0.4, row.update, kwargs={"state": "up"}).start()
    done = ctl("-s", fake.path, "drain", "app/b1", "--wait")
    assert done.returncode == 1
    assert done.stderr == "weirctl: app/b1 was enabled again meanwhile\n"


def test_weight(fake):
    out = good(fake, "weight", "app/b1", "7")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends/b1", {"weight": 7})
    assert rows(out)[1][3] == "7"
    assert out.endswith(" weight app/b1 1\n")
    for bad in ("65536", "x", "1.5", ""):
        done = ctl("-s", fake.path, "weight", "app/b1", bad)
        assert done.returncode == 2 and "0 to 65535" in done.stderr


def test_add_and_remove_undo_each_other(fake):
    out = good(fake, "add", "app", "[::1]:80", "--weight", "3", "--name", "it's")
    assert fake.requests[-1] == ("POST", "/v1/pools/app/backends",
                                 {"address": "[::1]:80", "name": "it's", "weight": 3})
    undo = out.splitlines()[-1]
    assert undo.startswith("undo: weirctl -s ") and undo.endswith(" remove 'app/it'\\''s'")
    out = subprocess.run(undo.replace("undo: weirctl", f"'{WEIRCTL}'", 1), shell=True, text=True,
                         capture_output=True, check=True, env=environment()).stdout
    assert fake.requests[-1][:2] == ("DELETE", "/v1/pools/app/backends/it%27s")
    assert "app/it's is removed\n" in out
    undo = out.splitlines()[-1]
    assert undo.endswith(" add app '[::1]:80' --name 'it'\\''s' --weight 3")


def test_remove_says_when_requests_are_left(fake):
    out = good(fake, "remove", "app/b1")
    assert "app/b1 goes when its last 3 requests are done\n" in out
    assert out.endswith(" add app 10.0.0.1:8000 --name b1\n")


def test_names_are_encoded_in_paths(fake):
    done = ctl("-s", fake.path, "drain", "app/unix:/run/a b%.sock")
    assert done.returncode == 1
    assert fake.requests[-1][1] == "/v1/pools/app/backends/unix:%2Frun%2Fa%20b%25.sock"


def test_reload(fake):
    assert good(fake, "reload") == "reloaded: generation 4 is in force\n"
    diagnostics = "weir.yaml:3:5: error: unknown key \"blance\"\n    blance: p2c\n    ^\n"
    fake.world["reload"] = (422, {"error": "the configuration has 1 error",
                                  "diagnostics": diagnostics})
    done = ctl("-s", fake.path, "reload")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (f"weirctl: the configuration has 1 error\n{diagnostics}"
                           "nothing was changed: the running configuration stays\n")


# ---- check ----

def test_check_ok(fake):
    fake.world["pools"][0]["backends"][1]["state"] = "maintenance"
    assert good(fake, "check") == (
        "WEIR OK - 2 of 3 backends up in 2 pools | backends_up=2;;;0;3 in_flight=7 connections=5 "
        "requests=1234567c errors=2c\n")


def test_check_warns(fake):
    fake.world["status"]["problems"] = ["a|b\nc"]
    fake.world["status"]["last_reload"]["ok"] = False
    fake.world["status"]["last_reload"]["error"] = "bad file"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "WEIR WARNING - app/b2 is down 41 s: connect refused; the last reload failed: bad file; "
        "a/b?c | backends_up=2;")
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_check_names_nothing_twice(fake):
    fake.world["status"]["problems"] = ["backend app/b2 is down: connect refused",
                                        "worker 0 was busy for 150 ms in one go"]
    done = ctl("-s", fake.path, "check")
    assert done.stdout.startswith("WEIR WARNING - app/b2 is down 41 s: connect refused; "
                                  "worker 0 was busy for 150 ms in one go | ")


def test_check_is_critical_when_a_pool_is_gone(fake):
    fake.world["pools"][1]["backends"][0]["state"] = "draining"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 2
    assert "pool api has no backend that takes requests" in done.stdout


def test_check_without_weir(fake, tmp_path):
    done = ctl("-s", str(tmp_path / "none.sock"), "check")
    assert done.returncode == 2 and done.stdout.startswith("WEIR CRITICAL - no socket at ")
    fake.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    done = ctl("-s", fake.path, "check")
    assert done.returncode == 3 and "is not JSON" in done.stdout
    assert done.stderr == ""
