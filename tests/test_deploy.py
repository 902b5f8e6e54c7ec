"""What deploy/ says can be read, agrees with itself, and names only what Segue has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from segue import __version__
from segue.__main__ import main
from segue.catalogue.read import names_served, read_catalogue
from segue.config import API_KEY_VARIABLE, CONFIG_VARIABLE, Settings, rows
from segue.config_read import load

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PROBES = {"/healthz", "/readyz"}
VARIABLES = {row.variable for row in rows()} | {API_KEY_VARIABLE, CONFIG_VARIABLE}
OURS = f"segue:{__version__}"
KINDS = {  # what each kind must have, beside `metadata.name`
    ("v1", "Namespace"): (),
    ("v1", "ConfigMap"): ("data",),
    ("v1", "Service"): ("spec.selector", "spec.ports"),
    ("apps/v1", "Deployment"): ("spec.selector.matchLabels", "spec.template.metadata.labels", "spec.template.spec"),
    ("policy/v1", "PodDisruptionBudget"): ("spec.selector.matchLabels", "spec.minAvailable"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("spec.scaleTargetRef.name", "spec.maxReplicas", "spec.metrics"),
}


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """The Kubernetes objects, by kind."""
    listed = parsed(DEPLOY / "kubernetes" / "kustomization.yaml")["resources"]
    there = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == there
    made = [parsed(DEPLOY / "kubernetes" / name) for name in listed]
    return {each["kind"]: each for each in made}


@pytest.fixture(scope="module")
def pod(objects: dict[str, Any]) -> Any:
    return objects["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def told(objects: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings that the ConfigMap makes."""
    folder = tmp_path_factory.mktemp("config")
    for name, text in objects["ConfigMap"]["data"].items():
        (folder / name).write_text(text, encoding="utf-8")
    return load(file=folder / "segue.toml", env={}, cwd=folder)


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value


def test_each_object_has_what_its_kind_must_have(objects: dict[str, Any]) -> None:
    for each in objects.values():
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", each["metadata"]["name"])
        for path in KINDS[each["apiVersion"], each["kind"]]:
            assert at(each, path) not in (None, "", [], {}), (each["kind"], path)


def test_every_variable_is_a_setting() -> None:
    for path in [*DEPLOY.rglob("*.yaml"), *DEPLOY.glob("*.env"), DEPLOY / "Containerfile"]:
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"\bSEGUE_[A-Z0-9_]+\b", text)) - {
            "SEGUE_ADMIN_KEY"
        }  # of the env file, which compose reads
        assert named <= VARIABLES, path
    env = dict(line.split("=", 1) for line in (DEPLOY / "example.env").read_text().splitlines() if line[0] != "#")
    wanted = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text()))
    assert wanted | {"BUCKET_IDENTITIES"} == set(env)
    told = json.loads(env["BUCKET_IDENTITIES"])["identities"][0]["credentials"][0]
    assert told == {"accessKey": "segue", "secretKey": env["BUCKET_SECRET"]}


def test_selectors_select_the_pods(objects: dict[str, Any]) -> None:
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    for kind, path in (
        ("Deployment", "spec.selector.matchLabels"),
        ("PodDisruptionBudget", "spec.selector.matchLabels"),
        ("Service", "spec.selector"),
    ):
        assert at(objects[kind], path).items() <= labels, kind
    name = objects["Deployment"]["metadata"]["name"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    least = objects["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert objects["PodDisruptionBudget"]["spec"]["minAvailable"] < least <= objects["Deployment"]["spec"]["replicas"]


def test_ports_probes_and_images(objects: dict[str, Any], pod: Any, told: Settings) -> None:
    (container,) = pod["containers"]
    assert container["image"] == OURS
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"http": told.server.port}
    assert all(each["targetPort"] in ports for each in objects["Service"]["spec"]["ports"])
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[name]["httpGet"]["path"] in PROBES
        assert container[name]["httpGet"]["port"] in ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz", "a pod that only is not ready is not killed"
    notes = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert notes["prometheus.io/port"] == str(told.server.port)
    assert main([*container["args"], "--help"]) == 0


def test_a_pod_has_the_time_that_it_takes_to_go(pod: Any, told: Settings) -> None:
    (container,) = pod["containers"]
    first = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > first + told.server.leave_s + told.server.drain_s
    readiness = container["readinessProbe"]
    assert told.server.leave_s > readiness["periodSeconds"] * readiness["failureThreshold"]


def test_volumes_are_mounted_where_the_settings_look(pod: Any, told: Settings) -> None:
    (container,) = pod["containers"]
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert set(mounts) == {each["name"] for each in pod["volumes"]}
    assert str(told.models.dir) == mounts["models"]["mountPath"]
    assert told.files.dir.is_relative_to(mounts["data"]["mountPath"])
    config = next(each["value"] for each in container["env"] if each["name"] == CONFIG_VARIABLE)
    assert Path(config).parent == Path(mounts["config"]["mountPath"])
    assert not mounts["data"].get("readOnly")
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert "tmp" in mounts, "several processes meet in a folder there"


def test_the_catalogue_can_be_served(told: Settings) -> None:
    catalogue = read_catalogue(told.models.catalogue)
    (entry,) = names_served(catalogue, told.models.default, told.models.also).entries
    assert entry.remote is not None
    assert all(each.addresses for each in entry.remote.upstreams)


def test_no_secret_is_written_down(objects: dict[str, Any], pod: Any) -> None:
    secret = {row.variable for row in rows() if row.secret}
    for each in pod["containers"][0]["env"]:
        if each["name"] in secret:
            assert each["valueFrom"]["secretKeyRef"]["name"] == "segue"
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    for each in pod["containers"][0]["env"]:
        if "valueFrom" in each:
            assert f"--from-literal={each['valueFrom']['secretKeyRef']['key']}=" in page, "the page says how to make it"
    told = tomllib.loads(objects["ConfigMap"]["data"]["segue.toml"])
    named = {f"{section}.{name}" for section, values in told.items() for name in values}
    assert not named & {row.key for row in rows() if row.secret}


def test_compose_agrees_with_itself() -> None:
    compose = parsed(DEPLOY / "compose.yaml")
    services = compose["services"]
    for name, service in services.items():
        assert re.fullmatch(r"[a-z0-9./-]+:[a-z0-9.]+", service["image"]), f"{name}: a tag of its own, not latest"
        after = service.get("depends_on", [])
        assert set(after) <= set(services)
        for other in after if isinstance(after, dict) else ():
            if after[other]["condition"] == "service_healthy":
                assert "healthcheck" in services[other], other
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).is_file(), volume
        assert set(service.get("secrets", [])) <= set(compose.get("secrets", {}))
    segue = services["segue"]
    assert segue["image"] == OURS
    env = segue["environment"]
    for name in ("SEGUE_STORE_URL", "SEGUE_FILES_BUCKET_ENDPOINT"):
        host = re.search(r"(?:@|//)([a-z]+):\d+", env[name])
        assert host is not None
        assert host[1] in services
    took = float(env["SEGUE_SERVER_LEAVE_S"]) + float(env["SEGUE_SERVER_DRAIN_S"])
    assert int(segue["stop_grace_period"].removesuffix("s")) > took
    values = {name: value for name, value in env.items() if "${" not in value}
    load(env=values, cwd=DEPLOY)
    assert "/readyz" in segue["healthcheck"]["test"][-1]


def test_the_balancer_asks_the_servers_there_are() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text()
    assert "option httpchk GET /readyz" in text
    assert re.search(r"server-template segue \d+-\d+ segue:8000 ", text)
    assert "retry-on conn-failure" in text


def test_the_container_file() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1]), line
    assert "USER 10001" in text
    assert f"segue:{__version__}" in text
    exposed = re.search(r"^EXPOSE (\d+)", text, re.MULTILINE)
    assert exposed is not None
    assert int(exposed[1]) == Settings().server.port
    assert "/healthz" in text


def test_the_drivers_are_installed_as_they_were_tested() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    found = re.search(r"extras\.py (\S+) ([a-z -]+) >", text)
    assert found is not None
    words = [sys.executable, str(DEPLOY / "extras.py"), str(ROOT / found[1]), *found[2].split()]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^([a-z-]+)==", printed, re.MULTILINE) == found[2].split()
    assert printed.count("--hash=sha256:") >= 4
    assert not printed.rstrip().endswith("\\")
