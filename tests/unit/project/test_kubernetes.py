"""The values for Airflow's official Helm chart. The chart itself is not part of this project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from airflow.configuration import conf

ROOT = Path(__file__).parents[3]
VALUES = yaml.safe_load((ROOT / "docs" / "kubernetes" / "values.yaml").read_text(encoding="utf-8"))


def test_the_image_is_the_one_of_the_compose_file():
    """One Dockerfile, one version, one Airflow."""
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text(encoding="utf-8"))
    image = VALUES["images"]["airflow"]
    assert (
        compose["services"]["airflow-worker"]["image"] == f"{Path(image['repository']).name}:{image['tag']}"
    )
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM apache/airflow:{VALUES['airflowVersion']}-" in dockerfile


def test_a_stop_of_a_worker_reaches_its_tasks():
    """The setting comes after the chart's own, and before the program that reads it."""
    for workers in VALUES["workers"].values():
        program, setting, reader, *_ = workers["command"]
        assert (program, setting, reader) == ("/usr/bin/env", "DUMB_INIT_SETSID=1", "/usr/bin/dumb-init")


CHECKED = {
    "": "airflowVersion images executor fernetKeySecretName apiSecretKeySecretName jwtSecretName data"
    " postgresql redis config securityContexts workers scheduler dagProcessor triggerer apiServer",
    "images": "airflow",
    "images.airflow": "repository tag",
    "data": "metadataSecretName brokerUrlSecretName",
    "postgresql": "enabled",
    "redis": "enabled",
    "securityContexts": "pod containers",
    "workers": "celery kubernetes",
    "workers.celery": "replicas command terminationGracePeriodSeconds safeToEvict persistence resources",
    "workers.celery.persistence": "enabled",
    "workers.kubernetes": "command terminationGracePeriodSeconds safeToEvict resources",
    "scheduler": "resources",
    "dagProcessor": "resources",
    "triggerer": "persistence resources",
    "triggerer.persistence": "enabled",
    "apiServer": "resources",
}
"""Names that were looked up in the schema of chart 1.22.0, by the value that they are in."""
OF_KUBERNETES = {"resources", "pod", "containers"}
"""Values that the schema checks by Kubernetes' own."""


def _unchecked(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if name not in CHECKED[path].split():
            yield f"{path}.{name}"
        elif isinstance(value, dict) and name not in OF_KUBERNETES | {"config"}:
            yield from _unchecked(value, f"{path}.{name}".lstrip("."))


def test_the_chart_knows_each_value():
    """It ignores most of the names that it does not have, and so does its schema."""
    assert list(_unchecked(VALUES)) == []


def test_settings_are_airflows():
    """Airflow ignores a misspelt setting."""
    known = {section: found["options"].keys() for section, found in conf.configuration_description.items()}
    for section, settings in VALUES["config"].items():
        assert settings.keys() <= known[section]


def test_secrets_come_from_secrets():
    """The values name Secrets, and hold no password, no key and no address with one."""
    text = yaml.safe_dump(VALUES)
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert all(name.endswith("SecretName") for name in VALUES["data"])
    assert not {"fernetKey", "jwtSecret", "apiSecretKey", "webserverSecretKey"} & VALUES.keys()
