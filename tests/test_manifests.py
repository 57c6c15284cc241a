"""docs/examples: docker-compose.yml and kubernetes.yaml agree with the image and the server."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import requests
import yaml
from click.testing import CliRunner

from tests.live_server import Server
from tests.nginx import EXAMPLE
from v1registry.commands.cli import main
from v1registry.config import load_config
from v1registry.server.settings import settings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((EXAMPLE.parent / "docker-compose.yml").read_text())
KUBERNETES = list(yaml.safe_load_all((EXAMPLE.parent / "kubernetes.yaml").read_text()))
DOCKERFILE = (ROOT / "Dockerfile").read_text()

NODES = {name: what for name, what in COMPOSE["services"].items() if name.startswith("registry")}
BUILT_IN = {"SETTINGS_FLAVOR", "TMPDIR"}  # read by v1registry.config, and by Python itself


def known_variables() -> set[str]:
    """Return the variables that config.yml and the server's settings read."""
    named = set(re.findall(r"_env:(\w+)", (ROOT / "config.yml").read_text()))
    server = (ROOT / "v1registry" / "server" / "settings.py").read_text()
    return named | set(re.findall(r'"((?:GUNICORN|REGISTRY)_\w+)"', server)) | BUILT_IN


def one(kind: str) -> dict[str, Any]:
    (found,) = (document for document in KUBERNETES if document["kind"] == kind)
    return dict(found)


def pods() -> Iterator[Any]:
    """Return the pods of the Deployment and of the CronJobs."""
    yield one("Deployment")["spec"]["template"]
    for document in KUBERNETES:
        if document["kind"] == "CronJob":
            yield document["spec"]["jobTemplate"]["spec"]["template"]


def kubernetes_environment() -> dict[str, str]:
    return {**one("ConfigMap")["data"], **one("Secret")["stringData"]}


def compose_environment() -> dict[str, str]:
    """Return the variables of the first node, from `.env` or their defaults."""
    given = {"AWS_BUCKET": "images", "AWS_KEY": "key", "AWS_SECRET": "secret"}

    def value(text: str) -> str:
        return re.sub(r"\$\{(\w+):[?-]([^}]*)\}", lambda found: given.get(found[1], found[2]), text)

    return {name: value(text) for name, text in NODES["registry1"]["environment"].items()}


ENVIRONMENTS = {"compose": compose_environment, "kubernetes": kubernetes_environment}


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_every_variable_is_a_text_that_is_read(where: str) -> None:
    environment = ENVIRONMENTS[where]()
    assert environment.keys() <= known_variables()
    assert all(isinstance(value, str) for value in environment.values())


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_the_configuration_is_usable(where: str) -> None:
    environment = ENVIRONMENTS[where]()
    config = load_config(environ=environment)
    store = config.storage
    assert (store["storage"], store["boto_bucket"]) == ("s3", "images")
    assert store["storage_path"] == "/registry"  # the image's default is another folder
    assert store["s3_secret_key"] == environment["AWS_SECRET"]
    assert settings(environment, config)["graceful_timeout"] == 600


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_transfers_can_finish_on_a_stop(where: str) -> None:
    graceful = int(ENVIRONMENTS[where]()["GUNICORN_GRACEFUL_TIMEOUT"])
    if where == "compose":
        assert all(int(node["stop_grace_period"][:-1]) > graceful for node in NODES.values())
        return
    spec = one("Deployment")["spec"]["template"]["spec"]
    before = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > graceful + before


def test_compose_nodes() -> None:
    assert len(NODES) == 3
    user = re.findall(r"^USER (\S+)", DOCKERFILE, re.M)[0]
    for node in NODES.values():
        assert node["user"] == user
        assert node["expose"] == re.findall(r"^EXPOSE (\S+)", DOCKERFILE, re.M)
        assert node["read_only"]
        # Parts of layers are on a disk, and /tmp is writable.
        assert node["environment"]["TMPDIR"] in node["volumes"]
        assert node["tmpfs"][0].startswith("/tmp:")
        assert node["environment"]["CACHE_REDIS_HOST"] in COMPOSE["services"]
        assert (
            node["environment"]["TRUSTED_PROXIES"]
            == COMPOSE["networks"]["default"]["ipam"]["config"][0]["subnet"]
        )
    nginx = COMPOSE["services"]["nginx"]
    assert set(nginx["depends_on"]) == set(NODES)
    mounted = nginx["volumes"][0].split(":")[0]
    assert (EXAMPLE.parent / mounted).resolve() == EXAMPLE
    # The mount point of the named volume must be writable for the image's user.
    assert f"install -d -o registry -g registry -m 0750 {NODES['registry1']['volumes'][0]}" in (
        re.sub(r"\s+", " ", DOCKERFILE)
    )


def test_pods_are_not_root_and_write_only_temporary_files() -> None:
    found = list(pods())
    assert len(found) == 3
    for pod in found:
        spec = pod["spec"]
        (container,) = spec["containers"]
        account = spec["securityContext"]
        assert account["runAsNonRoot"]
        user = f"{account['runAsUser']}:{account['runAsGroup']}"
        assert f"USER {user}\n" in DOCKERFILE
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert "emptyDir" in volumes[mounts[kubernetes_environment()["TMPDIR"]]]
        # In memory it would count towards the memory limit.
        assert "medium" not in volumes["temporary"]["emptyDir"]
        names = {next(iter(source.values()))["name"] for source in container["envFrom"]}
        assert names == {one("ConfigMap")["metadata"]["name"], one("Secret")["metadata"]["name"]}


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_accepts_the_manifest(version: str) -> None:
    """The schemas are those of the oldest possible and of the newest version of Kubernetes."""
    for document in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)
    wrong = copy.deepcopy(one("Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_selectors_of_the_pods() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert one("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert one("Service")["spec"]["selector"] == labels
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert (
        one("PodDisruptionBudget")["spec"]["minAvailable"] < one("Deployment")["spec"]["replicas"]
    )


def test_ports_and_probes_are_answered(tmp_path: Path) -> None:
    (container,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE
    assert one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    with Server(tmp_path / "store") as server:
        for probe in probes:
            assert probe["httpGet"]["port"] == port["name"]
            answer = requests.get(server.url + probe["httpGet"]["path"], timeout=30)
            assert answer.status_code == 200


def test_cron_jobs_run_commands_that_exist(tmp_path: Path) -> None:
    jobs = [document for document in KUBERNETES if document["kind"] == "CronJob"]
    commands = [
        job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
        for job in jobs
    ]
    assert commands == [["clean"], ["backfill"]]
    environment = {"SETTINGS_FLAVOR": "local", "STORAGE_PATH": str(tmp_path)}
    (tmp_path / "repositories/team/app").mkdir(parents=True)
    for command in commands:
        result = CliRunner().invoke(main, command, env=environment)
        assert result.exit_code == 0, result.output
