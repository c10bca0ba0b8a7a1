"""The manifests of examples/kubernetes: their schema, and what must fit together in them and in the image."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import webtest
import yaml

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.cli.main import command_parser

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
SECRETS = {
    "OSS_ACCESS_KEY_ID": "LTAI5tExampleKeyId000001",
    "OSS_ACCESS_KEY_SECRET": "ExampleSecret0000000000000000A",
    "OSS_TICKET_SECRET": "one secret for all of the containers",
}


def documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def one(kind: str) -> dict[str, Any]:
    (document,) = [document for document in documents() if document["kind"] == kind]
    return document


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


@pytest.mark.parametrize("document", documents(), ids=lambda document: f"{document['kind']}")
def test_each_manifest_fits_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_options_exist_and_the_grace_period_is_longer_than_the_drain() -> None:
    arguments = command_parser().parse_args(container()["args"])
    assert arguments.drain_delay >= 5
    assert pod()["terminationGracePeriodSeconds"] > arguments.drain_delay + arguments.drain
    readiness = container()["readinessProbe"]
    # The delay is long enough for the probe to fail and for the nodes to hear of it.
    assert arguments.drain_delay > 2 * readiness["periodSeconds"] * readiness["failureThreshold"]


def test_the_probes_and_services_lead_to_the_ports_of_the_options() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    arguments = command_parser().parse_args(container()["args"])
    assert ports == {"http": arguments.listen[1], "metrics": arguments.metrics_listen[1]}
    used = [container()[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")]
    used += [port["targetPort"] for port in one("Service")["spec"]["ports"]]
    used += [port["port"] for rule in one("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert set(used) == {"http", "metrics"}
    (path,) = one("Ingress")["spec"]["rules"][0]["http"]["paths"]
    names = [port["name"] for port in one("Service")["spec"]["ports"]]
    assert path["backend"]["service"]["port"]["name"] in names


def test_the_settings_are_complete_and_the_probes_are_answered(tmp_path: Path) -> None:
    environ = {**one("ConfigMap")["data"], **SECRETS}
    assert environ["OSS_LEDGER"].startswith(f"{mounts()['data']}/")
    environ["OSS_LEDGER"] = str(tmp_path / "ledger.sqlite3")
    application = DirectUpload(None, Settings.from_environ(environ))
    client = webtest.TestApp(application)
    for name in ("startup", "liveness", "readiness"):
        assert client.get(container()[f"{name}Probe"]["httpGet"]["path"]).json == {"status": "ok"}
    ready = container()["readinessProbe"]["httpGet"]["path"]
    client.get(ready, extra_environ={"oss_wsgi.draining": True}, status=503)
    alive = container()["livenessProbe"]["httpGet"]["path"]
    assert client.get(alive, extra_environ={"oss_wsgi.draining": True}).status_int == 200
    host = one("Ingress")["spec"]["rules"][0]["host"]
    assert environ["OSS_CALLBACK_URL"].startswith(f"https://{host}/")


def mounts() -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}


def test_the_secrets_are_files_that_the_entrypoint_reads() -> None:
    (folder,) = [entry["value"] for entry in container()["env"] if entry["name"] == "SECRETS_DIR"]
    assert mounts()["secrets"] == folder
    assert "${SECRETS_DIR:-" in (EXAMPLES / "container" / "entrypoint.sh").read_text(encoding="utf-8")
    (volume,) = [volume for volume in pod()["volumes"] if volume["name"] == "secrets"]
    text = MANIFESTS[-1].read_text(encoding="utf-8")
    assert f"kubectl create secret generic {volume['secret']['secretName']} --from-file=secrets/" in text
    assert all(name in text for name in SECRETS)
    assert not SECRETS.keys() & one("ConfigMap")["data"].keys()


def test_the_user_is_that_of_the_image_and_can_change_nothing_but_the_volumes() -> None:
    (user, group) = re.findall(
        r"^USER (\d+):(\d+)$", (EXAMPLES / "container" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )[0]
    context = pod()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (int(user), int(group), int(group))
    assert context["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mounts()[name] for name in ("data", "tmp")} == {"/data", "/tmp"}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.local.yaml"])
def test_the_options_of_a_compose_file_exist_and_it_waits_for_the_drain(name: str) -> None:
    text = (EXAMPLES / "container" / name).read_text(encoding="utf-8")
    (service,) = yaml.safe_load(text)["services"].values()
    arguments = command_parser().parse_args(service["command"])
    assert int(service["stop_grace_period"].removesuffix("s")) > arguments.drain_delay + arguments.drain
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
