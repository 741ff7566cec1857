"""docker-compose.yaml and what goes with it. Nothing here starts Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.yaml"


def _services() -> dict:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


def test_it_is_valid_by_the_compose_schema():
    """The schema of the Compose specification, as check-jsonschema brings it."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_every_variable_is_explained_in_the_example():
    """Whoever copies .env.example finds everything that the compose file asks for, and nothing else."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text(encoding="utf-8")))
    told = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert asked == told


def test_services_depend_on_services_that_exist():
    """A misspelt name would only be found by starting it."""
    services = _services()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
    assert services["sandbox"]["network_mode"] == "service:airflow-scheduler"


def test_every_service_that_stays_up_tells_whether_it_is_well():
    """A service that hangs is noticed; the one that ends by itself has nothing to tell."""
    lasting = {name for name, service in _services().items() if service.get("restart") != "no"}
    assert lasting == {name for name, service in _services().items() if "healthcheck" in service}


def test_secrets_come_from_the_environment_and_are_asked_for_by_name():
    """No key stands in the file, and none has a default that somebody could forget."""
    text = COMPOSE.read_text(encoding="utf-8")
    secret = re.compile(r"\$\{([A-Z_]*(?:PASSWORD|SECRET|KEY))(:\?)?")
    found = secret.findall(text)
    assert found
    assert [name for name, required in found if not required] == []
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name, _ in found)


def test_a_named_volume_lies_where_the_image_has_a_folder_of_its_user():
    """On a folder that the image lacks, Docker makes the volume root's, and nothing can be written."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = {"/opt/airflow/logs", *(f"/opt/airflow/{name}" for name in re.findall(r"mkdir (\w+)", dockerfile))}
    own = {name: service for name, service in _services().items() if "build" in service}
    named = {
        volume.split(":")[1]
        for service in own.values()
        for volume in service["volumes"]
        if volume[0] not in "./$"
    }
    assert named
    assert named <= made


def test_the_image_has_everything_that_the_project_is_made_of():
    """The folders that the Dockerfile copies are those of the project, and its Airflow is the pinned one."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = set(re.findall(r"^COPY .*? (\w+)/ ", dockerfile, re.MULTILINE))
    assert copied == {"bin", "dags", "plugins", "include"}
    pinned = re.search(r"^apache-airflow==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"apache/airflow:{pinned[1]}-python3.11" in dockerfile


def test_published_ports_are_on_loopback():
    """The compose file is for trying things out: nothing of it listens for strangers."""
    for service in _services().values():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
