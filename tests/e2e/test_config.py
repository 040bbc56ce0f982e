# SPDX-License-Identifier: MIT
"""Configurations of several files, values out of the environment, keys of other balancers."""
import os
import subprocess

import pytest

from backends import binary

BASE = """listeners: [{bind: 127.0.0.1:8080}]
pools: {app: {backends: [127.0.0.1:9001]}}
"""


@pytest.fixture
def check(tmp_path):
    """check({name: text}, NAME=value) -> (exit code, what weir -t says of weir.yaml)"""
    def run(files, *options, **env):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        done = subprocess.run([binary("weir"), *(options or ["-t"]), "-c", "weir.yaml"],
                              cwd=tmp_path, env={**os.environ, **env}, capture_output=True,
                              text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr
    return run


def test_files_are_put_together(check):
    code, said = check({
        "weir.yaml": "include: [conf.d/*.yaml]\nlisteners: [{bind: 127.0.0.1:8080}]\n"
                     "log: {level: warn}\nroutes: [{name: first, match: {path: /a}, pool: app}]\n"
                     "pools: {app: {backends: [127.0.0.1:9001]}}\n",
        "conf.d/20-shop.yaml": "pools: {shop: {backends: [127.0.0.1:9002]}}\n"
                               "routes: [{name: third, pool: shop}]\n",
        "conf.d/10-api.yaml": "routes: [{name: second, match: {path: /b}, pool: app}]\n"
                              "log: {access: {path: stdout}}\n",
        "conf.d/not-this.txt": "nonsense",
        "conf.d/99-empty.yaml": "# nothing\n"}, "-T")
    assert code == 0, said
    names = [line.split()[-1] for line in said.splitlines() if line.strip().startswith("- name:")
             or line.strip().startswith("name:")]
    assert [n.strip('"') for n in names if n.strip('"') in ("first", "second", "third")] == [
        "first", "second", "third"]
    assert "path: stdout" in said and "level: warn" in said and "include" not in said


def test_a_place_in_an_included_file(check):
    code, said = check({"weir.yaml": "include: more.yaml\n" + BASE,
                        "more.yaml": "# a\nroutes:\n  - pol: app\n"})
    assert code != 0
    assert "more.yaml:3:5: error: unknown key 'pol'" in said, said
    assert "3 |   - pol: app" in said and "did you mean 'pool'?" in said


@pytest.mark.parametrize("text,says", [
    ("pools: {app: {backends: [127.0.0.1:9003]}}\n",
     "more.yaml:1:9: error: 'app' is also at weir.yaml:3"),
    ("shutdown_timeout: 3s\n", None),
    ("workers: 3\n", "more.yaml:1:1: error: 'workers' is also at weir.yaml:4"),
    ("include: other.yaml\n", "more.yaml:1:1: error: an included file includes no others"),
    ("- 1\n", "an included file is a map of sections"),
    ("a: [\n", "more.yaml:"),
    ("pools: {b: {backends: [127.0.0.1:9001]}}\n"
     "routes: [{name: r, pool: b}, {name: r, pool: b}]\n", "route 'r' is there twice"),
])
def test_conflicts_name_both_places(check, text, says):
    code, said = check({"weir.yaml": "include: [more.yaml]\n" + BASE + "workers: 2\n",
                        "more.yaml": text})
    if says is None:
        assert code == 0, said
    else:
        assert code != 0 and says in said, said


def test_a_file_that_is_not_there(check):
    code, said = check({"weir.yaml": "include: [none.yaml]\n" + BASE})
    assert code != 0 and "weir.yaml:1:11: error:" in said and "none.yaml: No such file" in said
    assert check({"weir.yaml": "include: [none/*.yaml]\n" + BASE})[0] == 0


def test_a_reload_reads_included_files_anew(weir, app, tmp_path):
    (tmp_path / "more.yaml").write_text("routes: [{respond: {body: one}}]\n")
    backend = app()
    daemon = weir(backend.addresses)
    conf = {**daemon.conf, "include": ["more.yaml"]}
    conf.pop("routes", None)
    daemon.reload(conf)
    assert daemon.ask().body == b"one"
    (tmp_path / "more.yaml").write_text("routes: [{respond: {body: two}}]\n")
    daemon.hup()
    assert daemon.ask().body == b"two"


# ---- ${NAME} ----

def test_environment(check):
    conf = """listeners: [{bind: "127.0.0.1:${PORT}"}]
pools: {app: {backends: ["${HOST:-127.0.0.1}:9001"], balance: "${BALANCE:-auto}"}}
log: {access: {socket: "/${TEXT}"}}
routes: [{match: {path: "/$${NAME}-${lower-case}"}, pool: app}, {pool: app}]
"""
    code, said = check({"weir.yaml": conf}, "-T", PORT="8081", TEXT="a: [b] - c # \"{{")
    assert code == 0, said
    assert "127.0.0.1:8081" in said and "127.0.0.1:9001" in said
    assert "/$${NAME}" in said and "/a: [b]" in said  # read again it is the same
    assert check({"weir.yaml": said}, "-T")[1] == said


def test_environment_and_groups(check):
    conf = BASE + """routes:
  - {pool: app, rewrite: {path_regex: "^/(?<user>x)", path: "/${user}"}}
"""
    code, said = check({"weir.yaml": conf}, "-T", user="not this")
    assert code == 0 and 'path: "/${user}"' in said, said


def test_environment_in_a_body(weir, app):
    text = "a: [b]\n- c # \""
    daemon = weir(app().addresses, env={**os.environ, "TEXT": text + "{{"}, routes=[
        {"match": {"path": "/a"}, "respond": {"body": "${TEXT}", "content_type": "x/$${NAME}"}},
        {"pool": "app"}])
    answer = daemon.ask(target="/a")
    assert answer.body.decode() == text + "{" and answer.get("Content-Type") == "x/${NAME}"


@pytest.mark.parametrize("value", ["[a, b]", "{a: b}", "a: b", "- a", "'", '"', "&x", "*x", "!!int 1",
                                   "~", "", "# x", "a\nb: c", "|", ">"])
def test_a_value_never_becomes_structure(check, value):
    conf = BASE + "routes: [{respond: {body: ${VALUE}}, name: x}]\n".replace("${VALUE}", '"${VALUE}"')
    code, said = check({"weir.yaml": conf}, "-T", VALUE=value.replace("{", "{{"))
    assert code == 0, said
    plain = BASE + "log: {level: ${VALUE}}\n"
    code, said = check({"weir.yaml": plain.replace("{level: ${VALUE}}", "{level: \"${VALUE}\"}")},
                       VALUE=value)
    assert code != 0 and "log" in said, said


def test_a_name_that_is_not_set(check):
    code, said = check({"weir.yaml": BASE + "user: \"${NOBODY_HAS_THIS}\"\n"})
    assert code != 0
    assert "weir.yaml:3:8: error: ${NOBODY_HAS_THIS}: the environment has neither it" in said, said


def test_secrets_are_not_shown(check, tmp_path):
    (tmp_path / "token").write_text("hunter2secret\n")
    # the values of some keys are never shown; these are shown, but for what is a secret
    conf = BASE + """routes:
  - {match: {path: /y}, pool: app, request_headers: {set: {Authorization: "Bearer ${TOKEN}"}}}
  - {match: {path: "/x${TOKEN}"}, pool: app}
  - {match: {path: "/${secret:OTHER}"}, pool: app}
  - {match: {path: "/${OPEN}"}, pool: app}
"""
    code, said = check({"weir.yaml": conf}, "-T", TOKEN_FILE=str(tmp_path / "token"),
                       OTHER="swordfish", OPEN="sesame")
    assert code == 0, said
    for secret in ("hunter2secret", "swordfish"):
        assert secret not in said
    assert "/sesame" in said and "/x***" in said and "/***" in said


def test_a_secret_is_hidden_whole_whatever_is_in_it(check):
    conf = BASE + """routes:
  - {match: {path: "/${secret:PART}"}, pool: app}
  - {match: {path: "/1${secret:LONG}"}, pool: app}
  - {match: {path: "/2${secret:LIKE_A_NAME}"}, pool: app}
"""
    env = {"PART": "sword", "LONG": "swordfish", "LIKE_A_NAME": "my${HOME}"}
    code, said = check({"weir.yaml": conf}, "-T", **env)
    assert code == 0, said
    assert all(f'path: "/{at}***"' in said for at in ("", 1, 2)), said
    code, said = check({"weir.yaml": conf + '  - {pool: "${secret:LONG}"}\n'}, **env)
    assert code != 0 and "'***'" in said, said


@pytest.mark.parametrize("line", [
    'workers: "NAME"',
    'log: {level: "NAME"}',
    'log: {level: "NAMENAME"}',
    'routes: [{pool: "NAME"}]',
    'routes: [{pool: app, timeouts: {total: "NAME"}}]',
    'routes: [{pool: app, match: {path_regex: "NAME("}}]',
    'routes: [{pool: app, match: {header: {X: {regex: "NAME("}}}}]',
    'routes: [{pool: app, request_headers: {set: {X: "{NAME}"}}}]',
    'routes: [{pool: app, auth: {basic: {file: "/nowhere/NAME"}}}]',
    'routes: [{name: "NAME", pool: app}, {name: "NAME", pool: app}]',
    'status: {token_file: "/nowhere/NAME"}',
    'listeners: [{bind: "NAME"}]',
    'shared: {redis: {address: "NAME"}}',
    'include: "conf.d-NAME"',
], ids=lambda line: line[:60])
def test_secrets_are_not_shown_in_mistakes(check, line):
    base = BASE.replace(BASE[BASE.index("listeners:"):].split("\n", 1)[0], "") \
        if line.startswith("listeners") else BASE
    for secret in ("swordfish", "pw"):
        code, said = check({"weir.yaml": base + line.replace("NAME", "${secret:OTHER}") + "\n"},
                           OTHER=secret)
        assert code != 0 and "error:" in said, said
        assert "swordfish" not in said and "'pw'" not in said, said


@pytest.mark.parametrize("secret,line", [
    ("top{swordfish}secret", 'routes: [{pool: app, request_headers: {set: {X: "NAME"}}}]'),
    ("top{swordfish", 'routes: [{pool: app, redirect: {to: "https://NAME/"}}]'),
    ("swordfish:8000x", 'listeners: [{bind: "NAME"}]'),
    ("swordfish:8000x", 'status: {bind: "NAME"}'),
    ("ftp://swordfish:pw@a", 'tracing: {endpoint: "NAME"}'),
    ("ftp://swordfish", 'listeners: [{bind: "NAME"}]'),
    ("client-ip+swordfish", 'routes: [{pool: app, rate_limit: [{key: "NAME", rate: 1/s}]}]'),
    ("it's '{swordfish}'", 'routes: [{pool: app, request_headers: {set: {X: "NAME"}}}]'),
])
def test_no_part_of_a_secret_is_shown_in_mistakes(check, secret, line):
    """What a sentence quotes, or a hint is made of, may be a part of the value."""
    base = BASE.replace(BASE[BASE.index("listeners:"):].split("\n", 1)[0], "") \
        if line.startswith("listeners") else BASE
    code, said = check({"weir.yaml": base + line.replace("NAME", "${secret:OTHER}") + "\n"},
                       OTHER=secret)
    assert code != 0 and "error:" in said and "***" in said, said
    assert "swordfish" not in said, said


# ---- keys of others ----

@pytest.mark.parametrize("key,says", [
    ("gzip_static: on", "weir has no gzip_static: it serves no files"),
    ("frontend: {}", "weir has no frontend: listeners and routes"),
    ("worker_processes: 4", "weir has no worker_processes: workers"),
])
def test_keys_of_other_balancers(check, key, says):
    code, said = check({"weir.yaml": BASE + key + "\n"})
    assert code != 0 and says in said, said


def test_no_foreign_key_is_one_of_ours():
    schema = subprocess.run([binary("weir"), "--schema"], capture_output=True, text=True,
                            check=True, timeout=60).stdout
    assert '"include"' in schema
