#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""schema_check.py DIR CONF: DIR/schema.json accepts CONF/*.yaml and refuses DIR/bad-*.yaml.

Exit status 77 when a module is missing.
"""
import glob
import json
import re
import sys

try:
    import jsonschema
    import yaml
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)


class Loader(yaml.SafeLoader):
    """YAML 1.2 core types: `off` and `no` are texts, as in editors."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    Loader.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), list(first))


def wrong_defaults(schema, path="schema"):
    """Defaults that their own schema refuses."""
    wrong = []
    if isinstance(schema, dict):
        if "default" in schema:
            for error in jsonschema.Draft7Validator(schema).iter_errors(schema["default"]):
                wrong.append(f"{path}: {error.message}")
        for key, value in schema.items():
            wrong += wrong_defaults(value, path + "." + key)
    elif isinstance(schema, list):
        for value in schema:
            wrong += wrong_defaults(value, path)
    return wrong


def main(directory, samples):
    with open(directory + "/schema.json", encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    defaults = wrong_defaults(schema)
    for line in defaults:
        print("wrong default, " + line, file=sys.stderr)
    wrong = len(defaults)
    good = sorted(glob.glob(samples + "/*.yaml"))
    bad = sorted(glob.glob(directory + "/bad-*.yaml"))
    for path in good + bad:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        error = next(validator.iter_errors(yaml.load(text, Loader)), None)
        if path in good and error:
            print(f"{path} is refused: {error.message}", file=sys.stderr)
            wrong += 1
        if path in bad and not error:
            print(f"{path} is accepted:\n{text}", file=sys.stderr)
            wrong += 1
    print(f"{len(good)} good, {len(bad)} bad, {wrong} wrong")
    return 1 if wrong or not good or not bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
