"""From a connection of Airflow to where a copy is written."""

from __future__ import annotations

import json

import pytest

from springest.errors import ConfigurationError
from springest_provider import lookups
from springest_provider.copy_destinations import destination_of

KEY = {"type": "service_account", "project_id": "theirs", "private_key": "k", "client_email": "c"}
CONNECTIONS = {
    "duckdb": {"host": "/data/springest.duckdb"},
    "mysql": {"host": "db", "login": "u", "password": "p/w%", "extra": {"ssl": {"ca": "/ca.pem"}}},
    "postgres": {
        "host": "db",
        "schema": "bi",
        "login": "u",
        "password": "p4ssw0rd",
        "extra": {"sslmode": "verify-full"},
    },
    "redshift": {"host": "db", "schema": "bi", "login": "u", "password": "p4ssw0rd", "port": 5439},
    "snowflake": {
        "login": "u",
        "password": "p4ssw0rd",
        "extra": {"account": "a-b", "database": "BI", "warehouse": "W"},
    },
    "google_cloud_platform": {"extra": {"keyfile_dict": json.dumps(KEY), "project": "ours"}},
    "databricks": {
        "host": "adb",
        "password": "t0ken-of-it",
        "extra": {"http_path": "/sql/1", "catalog": "bi"},
    },
}


@pytest.fixture
def connect(monkeypatch):
    """Define the connection ``copy``."""
    monkeypatch.setattr(lookups, "WAITS_SECONDS", ())

    def define(conn_type, **values):
        monkeypatch.setenv("AIRFLOW_CONN_COPY", json.dumps({"conn_type": conn_type, **values}))

    return define


@pytest.mark.parametrize("conn_type", CONNECTIONS)
def test_every_kind_of_warehouse_has_its_destination(connect, conn_type):
    """With the password, which the representation of it lacks."""
    connect(conn_type, **CONNECTIONS[conn_type])
    found = destination_of("copy", "springest")
    assert (found.name, found.dataset) == ("copy", "springest")
    password = CONNECTIONS[conn_type].get("password")
    if password:
        assert password in found.settings["credentials"].values()
        assert password not in repr(found)


def test_a_password_is_not_encoded_and_tls_reaches_the_driver(connect):
    """Airflow masks a password as it is, not as it looks in a URL."""
    connect("mysql", **CONNECTIONS["mysql"])
    credentials = destination_of("copy", "springest").settings["credentials"]
    assert credentials["password"] == "p/w%"
    assert credentials["query"] == {"charset": "utf8mb4", "ssl_ca": "/ca.pem"}


def test_a_project_of_bigquery_replaces_that_of_the_key(connect):
    """Also without a key, where the machine's own credentials are used."""
    connect("google_cloud_platform", **CONNECTIONS["google_cloud_platform"])
    assert destination_of("copy", "x").settings["credentials"] == {**KEY, "project_id": "ours"}
    connect("google_cloud_platform")
    assert destination_of("copy", "x").settings["credentials"] is None


def test_a_key_replaces_the_password_of_snowflake(connect):
    """Airflow's field for the password then has the passphrase of the key."""
    extra = {"account": "a", "database": "b", "private_key_file": "/key.p8"}
    connect("snowflake", login="u", password="phrase", extra=extra)
    credentials = destination_of("copy", "x").settings["credentials"]
    assert credentials["private_key_passphrase"] == "phrase"
    assert "password" not in credentials


@pytest.mark.parametrize(
    ("conn_type", "values", "error"),
    [
        ("sqlite", {"host": "x.db"}, "of type sqlite, to which nothing is copied: use one of duckdb, mysql"),
        ("duckdb", {}, "has no host: fill it in"),
        ("snowflake", {"extra": {"account": "a"}}, "has no database: fill it in"),
        ("mysql", {"host": "db", "extra": {"local_infile": 1}}, "has an extra 'local_infile', which copies"),
    ],
)
def test_what_is_missing_or_unknown_is_named(connect, conn_type, values, error):
    """With the remedy."""
    connect(conn_type, **values)
    with pytest.raises(ConfigurationError, match=error):
        destination_of("copy", "x")
