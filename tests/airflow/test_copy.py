"""`springest_copy`, run by Airflow itself into a real DuckDB."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import CANARY_ADDRESS, CANARY_KEY, training

duckdb = pytest.importorskip("duckdb", reason="dlt is not installed: `make test-copies` installs and runs it")

pytestmark = [pytest.mark.airflow, pytest.mark.long, pytest.mark.xdist_group("airflow")]
ROOT = Path(__file__).parents[2]


def test_a_night_is_copied_and_leaks_nothing(make_airflow, tmp_path):
    """After the three DAGs of a night; then a run whose parameter has every value compared."""
    (tmp_path / "sql").symlink_to(ROOT / "include" / "sql")
    (tmp_path / "sites.toml").write_text('[default]\ncopy_to = "analytics"\ncopy_dataset = "bi"\n')
    path = tmp_path / "copy.duckdb"
    world = make_airflow(
        trainings=lambda folder: [training(folder, 1), training(folder, 2)],
        AIRFLOW__SPRINGEST__SITES_FILE=str(tmp_path / "sites.toml"),
        AIRFLOW_CONN_ANALYTICS=f'{{"conn_type": "duckdb", "host": "{path}"}}',
    )
    for dag_id in ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_copy"):
        world.run("dags", "test", dag_id)
    view = "certificate_reconciliation"
    read = f"SELECT training_id, verification_status, last_seen_at FROM {{}}.{view} ORDER BY 1"  # noqa: S608
    published = world.rows(read.format("springest"))
    with duckdb.connect(str(path)) as copy:
        assert copy.execute(read.format("bi")).fetchall() == [tuple(row) for row in published]
    assert [row[:2] for row in published] == [("T1", "verified"), ("T2", "verified")]
    output = world.run("dags", "test", "springest_copy", "--conf", '{"compare_values": true}') + world.logs()
    assert "written" in output
    everything = world.written() + world.metadata()
    for secret in (CANARY_KEY, CANARY_ADDRESS, str(urlsplit(world.warehouse_url).password)):
        assert secret not in everything
