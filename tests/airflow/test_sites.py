"""The DAGs of many sites: what parsing them reaches for, and what a broken entry does not touch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).parents[2]
SITES = 50
COUNTED = """
import json, socket, sqlite3, sys
import airflow  # reads its configuration before the watch begins
from airflow.sdk import BaseHook, Connection, Variable
from airflow.dag_processing.dagbag import DagBag
touched, read = [], []
def refuse(name):
    def touch(*args, **kwargs):
        touched.append(name)
        raise AssertionError(name)
    return touch
for owner, name in ((BaseHook, "get_connection"), (Connection, "get"), (Variable, "get")):
    setattr(owner, name, refuse(f"{owner.__name__}.{name}"))
socket.socket.connect = refuse("socket")
def watch(event, arguments):
    if event in ("socket.connect", "sqlite3.connect"):
        touched.append(event)
    if event == "open" and str(arguments[0]).endswith((".toml", ".sql")):
        read.append(str(arguments[0]))
sys.addaudithook(watch)
bag = DagBag(sys.argv[1])
print("\\n" + json.dumps({
    "touched": touched,
    "lists_read": sum(name.endswith("sites.toml") for name in read),
    "errors": bag.import_errors,
    "heavy": sorted({"dlt", "duckdb", "pandas"} & sys.modules.keys()),
    "dags": {
        dag.dag_id: {
            "file": dag.fileloc.rpartition("/")[2],
            "connections": sorted({t.springest_conn_id for t in dag.tasks
                if hasattr(t, "springest_conn_id")}),
            "sources": sorted({source.conn_id for t in dag.tasks for source in getattr(t, "sources", ())}),
            "pools": sorted({t.pool for t in dag.tasks}),
            "triggers": sorted({t.trigger_dag_id for t in dag.tasks if hasattr(t, "trigger_dag_id")}),
            "assets": sorted({a.name for t in dag.tasks for a in t.outlets}),
            "triggered_by": sorted(a.name for a in getattr(dag.timetable, "asset_condition", None).objects)
                if dag.dag_id.startswith("springest_copy") else None,
            "zone": str(getattr(dag.timetable, "timezone", "")),
        }
        for dag in bag.dags.values()
    },
}))
"""
DAGS = ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_review")


@pytest.fixture
def parse(parsing_env, tmp_path):
    """Parse the DAGs of a list of sites in a process of its own."""
    (tmp_path / "sql").mkdir()
    for query in (ROOT / "include" / "sql").glob("*.sql"):
        (tmp_path / "sql" / query.name).symlink_to(query)

    def run(content):
        path = tmp_path / "sites.toml"
        path.write_text(content)
        done = subprocess.run(
            [sys.executable, "-c", COUNTED, str(ROOT / "dags")],
            env={**parsing_env, "AIRFLOW__SPRINGEST__SITES_FILE": str(path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


def test_fifty_sites_are_parsed_from_one_read_of_the_list(parse):
    """No connection, no Variable and no database: the DAG processor parses every file every few seconds."""
    entries = [
        f'[site_{number}]\nsource = "source_{number}"\npool = "pool_{number}"\ntime_zone = "Europe/London"\n'
        for number in range(SITES)
    ]
    entries[8:9] = ["[site_8]", *(f'[[site_8.sources]]\nsource = "{name}"' for name in ("lms1", "lms2"))]
    output = parse("\n".join(entries))
    assert output["errors"] == {}
    assert output["touched"] == []
    assert output["lists_read"] == 1
    names = ["", *(f"_site_{number}" for number in range(SITES))]
    assert output["dags"].keys() == {f"{dag_id}{name}" for dag_id in DAGS for name in names}
    assert {dag["file"] for dag in output["dags"].values()} == {f"{dag_id}.py" for dag_id in DAGS}
    deliver = output["dags"]["springest_deliver_site_7"]
    assert deliver == {
        "file": "springest_deliver.py",
        "connections": ["springest_site_7"],
        "sources": ["source_7"],
        "pools": ["pool_7"],
        "triggers": [],
        "assets": ["springest_deliveries_site_7"],
        "zone": "Europe/London",
        "triggered_by": None,
    }
    assert output["dags"]["springest_reconcile_site_8"]["sources"] == ["lms1", "lms2"]
    review = output["dags"]["springest_review_site_7"]
    assert review["triggers"] == ["springest_deliver_site_7", "springest_review_site_7"]
    default = output["dags"]["springest_deliver"]
    assert default["connections"] == ["springest_default"]
    assert default["assets"] == ["springest_deliveries"]


def test_a_broken_entry_is_an_import_error_beside_the_dags(parse):
    """Airflow stops scheduling every DAG of a file that has one."""
    output = parse('[uk]\nsource = "uk"\npol = "x"\n\n[fr\nsource = "fr"\n\n[de]\nsource = "de"\n')
    assert output["dags"].keys() == {f"{dag_id}{name}" for dag_id in DAGS for name in ("", "_de")}
    [(file, error)] = output["errors"].items()
    assert file.endswith("springest_sites.py")
    assert "line 1, [uk]: pol: unknown setting: did you mean pool?" in error
    assert "line 5, [fr]: not valid TOML" in error


def test_a_site_with_a_copy_has_one_more_dag(parse):
    """Without the setting there is none; dlt is not imported while parsing."""
    output = parse('[uk]\nsource = "uk"\ncopy_to = "analytics"\n')
    assert (output["errors"], output["touched"]) == ({}, [])
    assert output["dags"].keys() - {f"{dag_id}{name}" for dag_id in DAGS for name in ("", "_uk")} == {
        "springest_copy_uk"
    }
    copy = output["dags"]["springest_copy_uk"]
    assert (copy["connections"], copy["assets"]) == (["springest_uk"], ["springest_copies_uk"])
    assert copy["triggered_by"] == ["springest_reconciliations_uk"]
    assert output["heavy"] == []
