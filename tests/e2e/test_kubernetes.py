# SPDX-License-Identifier: MIT
"""The manifests under conf/kubernetes: what an API server would refuse, as far as it concerns them,
and what they say about weir itself.  No cluster, no network."""
import re
import subprocess

import pytest
import yaml

from backends import SOURCE, binary

PATH = SOURCE / "conf" / "kubernetes" / "weir.yml"
KINDS = {"ServiceAccount": "v1", "Role": "rbac.authorization.k8s.io/v1", "ConfigMap": "v1",
         "RoleBinding": "rbac.authorization.k8s.io/v1", "Deployment": "apps/v1", "Service": "v1"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
QUANTITY = {"type": "string", "pattern": "^[0-9]+(m|Ki|Mi|Gi)?$"}


def closed(required, **properties):
    """A map with these keys and no other."""
    return {"type": "object", "additionalProperties": False, "required": required.split(),
            "properties": properties}


PROBE = closed("httpGet", httpGet=closed("path port", path={"type": "string"}, port=NAME),
               periodSeconds={"type": "integer", "minimum": 1},
               failureThreshold={"type": "integer", "minimum": 1})
CONTAINER = closed(
    "name image", name=NAME, image={"type": "string"},
    ports={"type": "array", "items": closed("name containerPort", name=NAME, containerPort=PORT)},
    securityContext=closed("allowPrivilegeEscalation readOnlyRootFilesystem capabilities",
                           allowPrivilegeEscalation={"const": False},
                           readOnlyRootFilesystem={"const": True},
                           capabilities={"const": {"drop": ["ALL"]}}),
    resources=closed("requests limits", requests={"additionalProperties": QUANTITY},
                     limits={"additionalProperties": QUANTITY}),
    startupProbe=PROBE, livenessProbe=PROBE, readinessProbe=PROBE,
    lifecycle=closed("preStop", preStop=closed("exec", exec=closed("command", command={
        "type": "array", "items": {"type": "string"}}))),
    volumeMounts={"type": "array", "items": closed(
        "name mountPath", name=NAME, mountPath={"type": "string"}, readOnly={"type": "boolean"})})
POD = closed(
    "containers serviceAccountName securityContext", serviceAccountName=NAME,
    terminationGracePeriodSeconds={"type": "integer"},
    securityContext=closed("runAsNonRoot runAsUser", runAsNonRoot={"const": True},
                           runAsUser={"type": "integer", "minimum": 1}, runAsGroup={"type": "integer"},
                           fsGroup={"type": "integer"},
                           seccompProfile={"const": {"type": "RuntimeDefault"}}),
    containers={"type": "array", "items": CONTAINER, "minItems": 1},
    volumes={"type": "array", "items": {"type": "object", "required": ["name"], "minProperties": 2,
                                        "maxProperties": 2}})
SPECS = {
    "ServiceAccount": {},
    "Role": {"rules": {"type": "array", "items": closed(
        "apiGroups resources verbs", apiGroups={}, resources={}, verbs={})}},
    "RoleBinding": {"roleRef": closed("apiGroup kind name", apiGroup={}, kind={}, name=NAME),
                    "subjects": {"type": "array", "items": closed("kind name", kind={}, name=NAME)}},
    "ConfigMap": {"data": {"type": "object", "additionalProperties": {"type": "string"}}},
    "Deployment": {"spec": closed(
        "selector template", replicas={"type": "integer"}, selector=closed("matchLabels", matchLabels={}),
        strategy=closed("rollingUpdate", rollingUpdate=closed("maxUnavailable maxSurge",
                                                              maxUnavailable={}, maxSurge={})),
        template=closed("metadata spec", metadata={}, spec=POD))},
    "Service": {"spec": closed(
        "selector ports", type={"enum": ["ClusterIP", "LoadBalancer", "NodePort"]},
        externalTrafficPolicy={"enum": ["Local", "Cluster"]}, selector={},
        ports={"type": "array", "items": closed("name port targetPort", name=NAME, port=PORT,
                                                targetPort=NAME)})},
}


@pytest.fixture(scope="module")
def objects():
    rows = list(yaml.safe_load_all(PATH.read_text()))
    return {row["kind"]: row for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_each_object_is_well_formed(objects, kind):
    import jsonschema
    metadata = closed("name", name=NAME, labels={"additionalProperties": {"type": "string"}})
    keys = {"apiVersion": {"const": KINDS[kind]}, "kind": {"const": kind}, "metadata": metadata,
            **SPECS[kind]}
    jsonschema.validate(objects[kind], closed(" ".join(keys), **keys))


def test_they_name_each_other(objects):
    assert set(objects) == set(KINDS)
    pod = objects["Deployment"]["spec"]["template"]
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    for selector in (objects["Service"]["spec"]["selector"],
                     objects["Deployment"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    container = spec["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} <= ports
    assert container["readinessProbe"]["httpGet"]["port"] in ports
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
    assert spec["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    assert spec["terminationGracePeriodSeconds"] > 25 + 5, "drains within shutdown_timeout"


def test_the_version_is_that_of_the_project(objects):
    said = subprocess.run([binary("weir"), "-v"], capture_output=True, text=True, check=True).stdout
    image = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "weir:" + said.split()[1]


def test_the_rights_are_the_least(objects):
    assert objects["Role"]["rules"] == [{"apiGroups": ["discovery.k8s.io"],
                                         "resources": ["endpointslices"], "verbs": ["list", "watch"]}]


def test_weir_takes_the_configuration(objects, tmp_path):
    """The token and the authority of a pod are not here: nothing else may be amiss."""
    path = tmp_path / "weir.yaml"
    path.write_text(objects["ConfigMap"]["data"]["weir.yaml"])
    done = subprocess.run([binary("weir"), "-t", "-c", path], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if "error:" in line]
    assert all(re.search("serviceaccount", line) for line in wrong), done.stderr
