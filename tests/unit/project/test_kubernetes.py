"""The values for Airflow's official Helm chart. The chart itself is not part of this project."""

from __future__ import annotations

import re
from pathlib import Path

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
    program, setting, reader, *_ = VALUES["workers"]["command"]
    assert (program, setting, reader) == ("/usr/bin/env", "DUMB_INIT_SETSID=1", "/usr/bin/dumb-init")


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
