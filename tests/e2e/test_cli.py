# SPDX-License-Identifier: MIT
"""weirctl, and weir's own command line."""
import json
import re
import subprocess
import threading

import pytest
import yaml

from backends import SOURCE, binary, free_port, refused_address
from certs import Authority
from daemon import tls_library
from wire import Client, wait_for


READS = [("status",), ("pools",), ("backends",), ("backends", "app"), ("connections",),
         ("certificates",),
         ("config",), ("events",), ("histogram", "app"), ("scaling",), ("scaling", "app"),
         ("slow",), ("slow", "app"), ("history", "app"), ("history", "app/a", "--seconds", "5"), ("explain", "GET", "http://weir.test/")]


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_tables_for_people(two, command):
    two.ask()
    done = two.ctl(*command, check=0)
    assert done.stdout.strip() and done.stderr == ""
    assert "\x1b" not in done.stdout, "no colour without a terminal"


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_json_for_programs(two, command):
    two.ask()
    json.loads(two.ctl("--json", *command, check=0).stdout)


def test_json_has_the_keys_of_the_api(two):
    assert json.loads(two.ctl("--json", "status", check=0).stdout)["pid"] == two.pid
    pools = json.loads(two.ctl("--json", "pools", check=0).stdout)
    assert "in_flight" in json.dumps(pools)


def test_backends_shows_them(two):
    out = two.ctl("backends", check=0).stdout
    for address in two.app.addresses:
        assert address in out


def test_drain_maintenance_enable(two):
    two.ctl("drain", "app/a", check=0)
    assert two.backends()["a"]["state"] == "draining"
    two.ctl("maintenance", "app/a", check=0)
    assert two.backends()["a"]["state"] == "maintenance"
    assert {two.ask().get("X-App") for _ in range(6)} == {"app-1"}
    two.ctl("enable", "app/a", check=0)
    assert two.backends()["a"]["state"] in ("up", "unknown")


def test_drain_waits(two):
    from wire import request
    client = two.connect()
    client.send(request(target="/?hang=1"))
    wait_for(lambda: two.app.total("in_progress") == 1)
    name = next(n for n, row in two.backends().items() if row["in_flight"])
    done = []
    drain = threading.Thread(target=lambda: done.append(two.ctl("drain", f"app/{name}", "--wait")))
    drain.start()
    wait_for(lambda: two.backends()[name]["state"] == "draining")
    assert not done
    two.app.go()
    drain.join()
    assert done[0].returncode == 0, done
    assert two.backends()[name]["in_flight"] == 0
    assert client.response().status == 200


def test_weight(two):
    two.ctl("weight", "app/a", "7", check=0)
    assert two.backends()["a"]["weight"] == 7


def test_add_and_remove(two, scripted):
    other = scripted()
    two.ctl("add", "app", other.address, "--name", "c", check=0)
    assert two.backends()["c"]["address"] == other.address
    two.ctl("remove", "app/c", check=0)
    wait_for(lambda: "c" not in two.backends())


def test_reload(two):
    two.ctl("reload", check=0)
    two.write("nonsense: 1\n")
    done = two.ctl("reload", check=1)
    assert "nonsense" in done.stdout + done.stderr
    two.write(two.conf)


def test_config_is_yaml_that_loads_again(two, tmp_path):
    text = two.ctl("config", check=0).stdout
    assert yaml.safe_load(text)["pools"]["app"]["balance"] == "round-robin"
    (tmp_path / "again.yaml").write_text(text)
    subprocess.run([binary("weir"), "-t", "-c", str(tmp_path / "again.yaml")], check=True,
                   capture_output=True)


def test_check(two):
    done = two.ctl("check", check=0)
    assert "OK" in done.stdout and done.stdout.count("\n") == 1
    for name in "ab":
        two.ctl("maintenance", f"app/{name}", check=0)
    assert "CRITICAL" in two.ctl("check", check=2).stdout


@pytest.mark.parametrize("args", [("nonsense",), (), ("--nonsense",), ("drain",),
                                  ("weight", "app/a"), ("status", "extra")])
def test_usage_errors(two, args):
    done = two.ctl(*args, check=2)
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("args", [("drain", "app/nope"), ("backends", "nope"),
                                  ("weight", "app/a", "99999999"), ("add", "app", "nowhere")])
def test_failures(two, args):
    done = two.ctl(*args)
    assert done.returncode in (1, 2) and done.stderr


def test_unreachable(tmp_path):
    done = subprocess.run([binary("weirctl"), "-s", str(tmp_path / "no.sock"), "status"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "no.sock" in done.stderr


def test_help_and_version():
    for argv in (["weirctl", "--help"], ["weir", "-h"], ["weir", "-v"], ["weir", "-V"]):
        done = subprocess.run([binary(argv[0]), *argv[1:]], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0 and done.stdout and not done.stderr, argv


def test_the_changelog_of_packages_begins_with_a_version(tmp_path):
    """Which is this one's; what is not released yet stands before it in the guide only."""
    script, guide = SOURCE / "scripts/package_lib/changelog", SOURCE / "man/guide/changes.md"
    said = subprocess.run([script, guide], capture_output=True, text=True, check=True).stdout
    version = re.search(r"^project\(weir VERSION ([0-9.]+)", (SOURCE / "CMakeLists.txt").read_text(), re.M)[1]
    assert said.startswith(f"weir ({version}) unstable;"), said
    changes = tmp_path / "changes.md"
    changes.write_text("# Changes\n\n## Unreleased\n\n- Not\n  yet.\n\n## 0.2.0, 2026-12-24\n\n- One\n  line.\n- More.\n")
    said = subprocess.run([script, changes], capture_output=True, text=True, check=True).stdout
    assert said.startswith("weir (0.2.0) unstable; urgency=medium\n\n  * One line.\n  * More.\n\n -- "), said


def test_one_tls_library():
    """The one that -V names: no second one comes in through another library."""
    linked = subprocess.run(["ldd", binary("weir")], capture_output=True, text=True,
                            check=True).stdout
    assert "libnghttp2" in linked
    for name in ("libcrypto", "libssl"):
        found = re.findall(rf"{name}\.so\S*", linked)
        assert len(set(found)) <= 1, linked
        if tls_library().startswith("OpenSSL 3"):
            assert set(found) <= {f"{name}.so.3"}, linked
        else:
            assert set(found) <= {f"{name}.so"}, linked
    hidden = subprocess.run(["nm", "-D", "--defined-only", binary("weir")], capture_output=True,
                            text=True, check=True).stdout
    assert not re.search(r" (SSL_new|EVP_sha256)$", hidden, re.M), "others would find it"


# ---- weir's own options ----

def run_weir(*args):
    return subprocess.run([binary("weir"), *args], capture_output=True, text=True, timeout=20,
                          check=False)


def test_command_line_mode(weir, app, tmp_path):
    backends, port = app(2), free_port()
    daemon = weir(args=["--listen", f"127.0.0.1:{port}",
                        "--backend", backends.addresses[0], "--backend", backends.addresses[1],
                        "--balance", "round-robin", "--status-socket", str(tmp_path / "x.sock")],
                  status_socket=tmp_path / "x.sock")
    client = daemon.connect(port)
    assert {client.ask().get("X-App") for _ in range(4)} == {"app-0", "app-1"}


def test_t_accepts_and_binds_nothing(tmp_path, scripted):
    taken = scripted()
    conf = tmp_path / "x.yaml"
    conf.write_text(f"listeners: [{{bind: '{taken.address}'}}]\n"
                    "pools: {app: {backends: ['127.0.0.1:1']}}\n")
    done = run_weir("-t", "-c", str(conf))
    assert done.returncode == 0, done.stderr


def test_t_refuses_with_place_and_hint(tmp_path):
    conf = tmp_path / "x.yaml"
    conf.write_text("listeners:\n  - bind: 127.0.0.1:1\npools:\n  app:\n    blance: p2c\n"
                    "    backends: ['127.0.0.1:2', '127.0.0.1']\n")
    done = run_weir("-t", "-c", str(conf))
    assert done.returncode == 1
    assert f"{conf}:5:5: error:" in done.stderr
    assert "balance" in done.stderr and "^" in done.stderr
    assert f"{conf}:6:" in done.stderr, "all errors in one run"


def test_capital_t_prints_what_loads_again(tmp_path):
    conf = tmp_path / "x.yaml"
    conf.write_text("listeners: [{bind: '127.0.0.1:1'}]\npools: {app: {backends: ['127.0.0.1:2']}}\n")
    first = run_weir("-T", "-c", str(conf))
    assert first.returncode == 0 and "retry" in first.stdout
    conf.write_text(first.stdout)
    assert run_weir("-T", "-c", str(conf)).stdout == first.stdout


class Yaml12(yaml.SafeLoader):
    """YAML 1.2, as weir and editors read it: off is a word, not a boolean."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in rows if tag != "tag:yaml.org,2002:bool"]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Yaml12.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def test_schema_describes_the_samples():
    import jsonschema
    schema = json.loads(run_weir("--schema").stdout)
    for path in (SOURCE / "conf").glob("*.yaml"):
        jsonschema.validate(yaml.load(path.read_text(), Yaml12), schema)


def test_sample_files_are_good(tmp_path):
    paths = sorted((SOURCE / "conf").glob("*.yaml"))
    assert len(paths) >= 3
    ca = Authority(tmp_path)
    site = ca.issue("site", ["a.example"])
    ca.issue("client")
    ca.ocsp(site)
    (tmp_path / "crl.pem").write_bytes(ca.revoke().read_bytes())
    (tmp_path / "backends-ca.pem").write_bytes(ca.pem.read_bytes())
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "b.pem").write_bytes(site.pem.read_bytes() + site.key.read_bytes())
    (tmp_path / "tickets.key").write_text("0123456789abcdef" * 10 + "\n")
    (tmp_path / "otlp-headers").write_text("X-Token: secret\n")
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "eab.key").write_text("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw\n")
    (tmp_path / "redis-password").write_text("secret\n")
    (tmp_path / "weir.pem").write_bytes(site.pem.read_bytes())
    (tmp_path / "weir.key").write_bytes(site.key.read_bytes())
    (tmp_path / "ca.pem").write_bytes(ca.pem.read_bytes())
    for registry in ("etcd", "consul"):
        (tmp_path / f"{registry}-ca.pem").write_bytes(ca.pem.read_bytes())
        (tmp_path / f"{registry}-client.pem").write_bytes(site.pem.read_bytes())
        (tmp_path / f"{registry}-client.key").write_bytes(site.key.read_bytes())
    (tmp_path / "etcd-password").write_text("secret\n")
    (tmp_path / "consul-token").write_text("secret\n")
    (tmp_path / "members.yaml").write_text("- 127.0.0.1:3000\n")
    for pattern in ("*.html", "*.key", "example-users"):
        for file in (SOURCE / "conf").glob(pattern):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    for path in paths:  # what they name in /etc/weir is here instead
        text = path.read_text().replace("/etc/weir/", f"{tmp_path}/")
        text = text.replace("/var/log/weir/", f"{tmp_path}/").replace("user: weir", "user: ''")
        path = tmp_path / path.name
        path.write_text(text)
        done = run_weir("-t", "-c", str(path))
        assert done.returncode == 0, (path, done.stderr)


def test_missing_file(tmp_path):
    done = run_weir("-c", str(tmp_path / "no.yaml"))
    assert done.returncode == 1 and "no.yaml" in done.stderr


@pytest.mark.parametrize("args", [("--nonsense",), ("extra",), ("--listen", "127.0.0.1:1"),
                                  ("-c",)])
def test_weir_usage_errors(args):
    done = run_weir(*args)
    assert done.returncode == 2 and done.stderr


def test_address_in_use(weir, scripted, tmp_path):
    taken = scripted()
    done = run_weir("--listen", taken.address, "--backend", refused_address(),
                    "--status-socket", str(tmp_path / "x.sock"))
    assert done.returncode == 1 and taken.address in done.stderr


def test_two_daemons_do_not_share_a_status_socket(two):
    done = run_weir("--listen", f"127.0.0.1:{free_port()}", "--backend", refused_address(),
                    "--status-socket", two.sock)
    assert done.returncode == 1 and two.sock in done.stderr
    with Client(two.sock) as client:
        assert client.ask(target="/livez", host="weir").status == 200


def test_more_clients_than_descriptors_is_said_before_the_start(tmp_path):
    conf = tmp_path / "weir.yaml"
    conf.write_text("listeners: [{bind: 127.0.0.1:1, limits: {connections: %d}}]\n"
                    "pools: {app: {backends: [127.0.0.1:2]}}\n" % 900)
    for most, said in ((1024, True), (1200, False)):
        done = subprocess.run(["prlimit", f"--nofile={most}:{most}", binary("weir"), "-t", "-c",
                               str(conf)], capture_output=True, text=True)
        assert done.returncode == 0
        assert ("warning: limits.connections of the listeners allow 900 clients, but the process "
                "may open 1024 descriptors" in done.stderr) == said
