"""``python -m tests.cluster.short``: the services that need neither Airflow nor Celery, in seconds."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
from sqlalchemy.exc import DBAPIError

from demo.airflow_home import PROJECT
from demo.compose_secrets import ROLES
from demo.nights import LISTED
from demo.world import alone

from .compose import Service, read
from .containers import enter
from .stack import Stack, started

FOLDER = PROJECT / ".springest" / "cluster-short"
SERVICES = ("secrets", "postgres", "sandbox")
INSTALLED = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
"""This environment has what they need, except for `dumb-init`."""


def main() -> int:
    """Run them.

    :returns: 0 if each login works with its secret, and the sandbox with its key.
    """
    enter("tests.cluster.short", sys.argv[1:])
    values = {"COMPOSE_PROFILES": "sandbox", "CERTIFICATES_FOLDER": str(FOLDER)}
    services = {name: _alone(read(values)[name]) for name in SERVICES}
    with alone(FOLDER):
        certifications = FOLDER / "volumes" / "sandbox" / "certifications.json"
        certifications.parent.mkdir(parents=True)
        certifications.write_text(json.dumps(LISTED), encoding="utf-8")
        with started(FOLDER, services=services, overrides=INSTALLED, say=print) as stack:
            wrong = [*_logins(stack), *_sandbox(stack)]
            if "every secret exists" not in (output := stack.containers.run(services["secrets"])):
                wrong.append(f"the second start says {output}")
    print("\n".join(wrong) or "each secret fits")
    if not wrong:
        shutil.rmtree(FOLDER)
    return 1 if wrong else 0


def _alone(service: Service) -> Service:
    command = service.command[2:] if service.command[:2] == ["/usr/bin/dumb-init", "--"] else service.command
    return replace(service, command=command, waits_for=service.waits_for & set(SERVICES))


def _logins(stack: Stack) -> Iterator[str]:
    own = dict(zip(ROLES, ("airflow", "source", "source", "warehouse", "warehouse"), strict=True))
    for login, database in own.items():
        try:
            stack.database(database, login).connect().close()
        except DBAPIError as error:
            yield f"{login} can't log in to {database}: {error}"


def _sandbox(stack: Stack) -> Iterator[str]:
    stack.wait_until_healthy("sandbox")
    for key, expected in ((stack.secret("sandbox", "certifications_api_key"), 200), ("another key", 401)):
        url = "http://127.0.0.1:8765/certifications.xml"
        response = httpx.get(url, params={"api_key": key}, trust_env=False)
        if response.status_code != expected:
            yield f"the sandbox responds with {response.status_code} instead of {expected}"


if __name__ == "__main__":
    sys.exit(main())
