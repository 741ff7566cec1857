"""docker-compose.yaml, read as Compose reads it: variables, images' own commands, profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
OWN_IMAGE = "springest-airflow"
IMAGES = {"redis": ["redis-server"]}
"""Commands of the images that are run as they are, by name; PostgreSQL comes from its wheel."""
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Z_]+)(?::-([^}]*)|:\?([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume, or a folder of this machine if it has a path.

    :param target: where the service sees it.
    """

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    :param command: entry point and command.
    :param health: the command that checks it.
    :param waits_for: services that are ready before it starts.
    """

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    mounts: list[Mount]
    health: list[str]
    waits_for: frozenset[str]
    stop_seconds: float
    text: dict = field(repr=False)


def read(values: Mapping[str, str], *, path: Path = COMPOSE) -> dict[str, Service]:
    """Return the services that the values of ``.env`` choose, by name.

    :raises ValueError: a variable is missing; the text is that of the file.
    """
    content = yaml.safe_load(interpolate(path.read_text(encoding="utf-8"), values))
    profiles = set(values.get("COMPOSE_PROFILES", "").split(","))
    return {
        name: _service(name, made)
        for name, made in content["services"].items()
        if not made.get("profiles") or profiles & set(made["profiles"])
    }


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """Replace ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``; ``$$`` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        name, default, message = found.groups()
        if name is None:
            return "$"
        if values.get(name):
            return values[name]
        if message is not None:
            raise ValueError(f"{name}: {message}")
        return default or ""

    return _VARIABLE.sub(value, text)


def first_start() -> str:
    """Return the script that PostgreSQL's image runs at its first start."""
    content = interpolate(COMPOSE.read_text(encoding="utf-8"), {})
    return yaml.safe_load(content)["configs"]["databases"]["content"]


def image_environment() -> dict[str, str]:
    """Return what the Dockerfile and Airflow's image set."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    own = re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", text, re.MULTILINE)))
    return {"AIRFLOW_HOME": "/opt/airflow", "DUMB_INIT_SETSID": "1", "LANG": "C.UTF-8", **dict(own)}


def _service(name: str, made: dict) -> Service:
    image = made["image"].partition(":")[0]
    return Service(
        name=name,
        image=image,
        command=_command(image, made),
        environment=dict(made.get("environment", {})),
        mounts=[Mount(*volume.split(":")[:2]) for volume in made.get("volumes", [])],
        health=_health(made.get("healthcheck", {}).get("test", [])),
        waits_for=frozenset(made.get("depends_on", {})),
        stop_seconds=_seconds(made.get("stop_grace_period", "10s")),
        text=made,
    )


def _command(image: str, made: dict) -> list[str]:
    if image == OWN_IMAGE:
        entry = made.get("entrypoint", ["/usr/bin/dumb-init", "--", "/entrypoint"])
        return [*entry, *made.get("command", [])]
    return made.get("command", IMAGES.get(image, []))


def _health(test: list[str]) -> list[str]:
    if not test:
        return []
    return test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[1]]


def _seconds(text: str) -> float:
    number, unit = float(text[:-1]), text[-1]
    return number * {"s": 1, "m": 60}[unit]
