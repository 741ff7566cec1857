"""The page behind Airflow's real login: its SimpleAuthManager, its database, its tokens."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url

from demo import source_database
from demo.history import fill
from demo.postgres import EmbeddedPostgres
from demo.world import postgres_connection
from springest.identity import delivery_key
from tests.factories import SECRET

USERS = "vera:viewer,olga:op,uma:user,nora:none"


@pytest.fixture(scope="session")
def airflow_database(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Airflow's own database on PostgreSQL, and settings as an API server has them."""
    from airflow import settings
    from airflow.models.base import Base
    from airflow.utils.db import import_all_models

    postgres.drop_database("airflow_of_page")
    url = make_url(postgres.create_database("airflow_of_page")).set(drivername="postgresql+psycopg2")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "DATABASE__SQL_ALCHEMY_CONN": url.render_as_string(hide_password=False),
            "CORE__SIMPLE_AUTH_MANAGER_USERS": USERS,
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "API__SECRET_KEY": "a key for tests only",
            "API_AUTH__JWT_SECRET": "another key for tests only, of sixty-four bytes, as HS512 wants it so",
        }.items():
            patch.setenv(f"AIRFLOW__{name}", value)
        settings.configure_vars()
        settings.configure_orm()
        import_all_models()
        Base.metadata.create_all(settings.engine)
        yield
        settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()


@pytest.fixture(scope="session")
def seeded(postgres: EmbeddedPostgres, migrated: str) -> str:
    """Name of a warehouse with 3,000 deliveries of six nights, to copy from."""
    postgres.drop_database("seeded_of_page")
    engine = create_engine(postgres.create_database("seeded_of_page", template=migrated))
    fill(engine, rows=3_000, per_night=500)
    engine.dispose()
    return "seeded_of_page"


@pytest.fixture
def warehouse_url(postgres: EmbeddedPostgres, seeded: str) -> Iterator[str]:
    """The address of a copy of it."""
    name = f"page_{secrets.token_hex(6)}"
    yield postgres.create_database(name, template=seeded)
    postgres.drop_database(name)


@pytest.fixture
def page(
    airflow_database: None, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Sign in: give a client for a role, or for nobody."""
    from airflow.api_fastapi.app import init_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.app import init_middlewares
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from springest_provider.ui.views import LazyApp
    from springest_provider.ui.warehouse import warehouse as of_page

    connection = json.dumps(postgres_connection(warehouse_url))
    monkeypatch.setenv("AIRFLOW_CONN_CERTIFICATE_WAREHOUSE", connection)
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", SECRET)
    monkeypatch.setenv(
        "AIRFLOW_CONN_SPRINGEST_DEFAULT",
        json.dumps({"conn_type": "springest", "host": "http://127.0.0.1:9", "password": "canary/key"}),
    )
    purge_cached_app()
    airflow = FastAPI()
    airflow.mount("/springest", LazyApp())
    manager = init_auth_manager(airflow)
    init_middlewares(airflow)

    def signed_in(role: str | None = None, *, name: str = "", root_path: str = "") -> TestClient:
        client = TestClient(
            airflow,
            base_url="http://airflow.example.com",
            root_path=root_path,
            follow_redirects=False,
            headers={"accept": "text/html"},
        )
        if role is not None:
            user = SimpleAuthManagerUser(username=name or role, role=None if role == "none" else role.upper())
            client.cookies.set("_token", manager.generate_jwt(user))
        return client

    yield signed_in
    if of_page._engine is not None:
        of_page._engine.dispose()


@pytest.fixture
def source(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A source that has nothing."""
    engine = create_engine(database)
    source_database.create_schema(engine)
    monkeypatch.setenv("AIRFLOW_CONN_TRAINING_SOURCE", json.dumps(postgres_connection(database)))
    yield engine
    engine.dispose()


def key(number: int) -> str:
    """Return the key of a delivery by its number in the history."""
    return delivery_key(site="default", training_id=f"T{number}", issue_no=1)


def token_of(response: Any) -> str:
    """Return the token that the forms of a page carry."""
    found = re.search(r'name="token" value="([^"]+)"', response.text)
    assert found, response.text[:2000]
    return found[1]
