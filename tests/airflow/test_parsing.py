"""DAG files are parsed every few seconds, by a process that must not reach for anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from springest.site import EXTRAS

pytestmark = pytest.mark.airflow

WATCHED = """
import json, socket, sys
import airflow  # reads its configuration before the watch begins
from airflow.sdk import BaseHook, Connection, Variable
touched = []
def refuse(what):
    def touch(*args, **kwargs):
        touched.append(what)
        raise AssertionError(what)
    return touch
for owner, name in ((BaseHook, "get_connection"), (Connection, "get"), (Variable, "get")):
    setattr(owner, name, refuse(f"{owner.__name__}.{name}"))
socket.socket.connect = refuse("socket")
socket.create_connection = refuse("socket")
import runpy
from pathlib import Path
heavy = {"pandas", "numpy"}
for path in sorted(Path(sys.argv[1]).glob("*.py")):
    runpy.run_path(str(path))
print(json.dumps({"touched": touched, "heavy": sorted(heavy & sys.modules.keys())}))
"""
LOADED = """
import json, sys
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded()
folder = plugins_manager.conf.get("core", "plugins_folder")
print(json.dumps({
    "errors": plugins_manager.get_import_errors(),
    "plugins": [one["name"] for one in plugins_manager.get_plugin_info() if one["name"] == "springest"],
    "run": sorted(
        name for name, module in sys.modules.items()
        if str(getattr(module, "__file__", None)).startswith(folder)
        and name.partition(".")[0] != "springest_provider"
    ),
}))
"""
DESCRIBED = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print("\\n" + json.dumps({
    "errors": {str(k): str(v) for k, v in bag.import_errors.items()},
    "dags": {
        name: {
            "tasks": sorted(task.task_id for task in dag.tasks),
            "doc": bool(dag.doc_md),
            "described": all(task.__doc__ for task in dag.tasks),
            "policies": all(task.retry_policy is not None for task in dag.tasks),
            "once": dag.max_active_runs == 1 and not dag.catchup,
        }
        for name, dag in bag.dags.items()
    },
}))
"""


def _python(script: str, env: dict[str, str], dags: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", script, dags],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_parsing_touches_no_connection_no_variable_and_no_socket(parsing_env):
    """A DAG reads connections, Variables and the network only when it runs."""
    output = _python(WATCHED, parsing_env, parsing_env["AIRFLOW__CORE__DAGS_FOLDER"])
    assert output == {"touched": [], "heavy": []}


def test_airflow_loads_the_plugin_but_not_the_package(parsing_env):
    """Airflow runs every file under `plugins/` that is not ignored, under the file's name: the command's
    ``__main__`` too.
    """
    output = _python(LOADED, parsing_env, "plugins")
    assert output == {"errors": {}, "plugins": ["springest"], "run": []}


def test_the_dags_are_documented_and_retried_by_error(parsing_env):
    """The names and the shape that people rely on."""
    output = _python(DESCRIBED, parsing_env, parsing_env["AIRFLOW__CORE__DAGS_FOLDER"])
    assert output["errors"] == {}
    assert {name: dag.pop("tasks") for name, dag in output["dags"].items()} == {
        "springest_catalogue": ["catalogue"],
        "springest_deliver": ["deliver", "stage"],
        "springest_reconcile": [
            "check_columns",
            "check_table",
            "owners",
            "publish",
            "reconcile",
            "snapshot",
        ],
        "springest_review": ["again", "deliver", "review"],
    }
    assert all(all(dag.values()) for dag in output["dags"].values()), output


def test_airflow_knows_the_connection_type_its_form_and_its_hook(parsing_env):
    """The connection type comes from the provider's entry point, so the package must be installed."""
    script = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager
[form] = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "springest"]
print("\\n" + json.dumps({
    "hook": form.hook_class_name,
    "package": ProvidersManager().providers["airflow-provider-springest"].data["package-name"],
    "hidden": [form.standard_fields.login.hidden, form.standard_fields.password.hidden],
    "fields": sorted(form.extra_fields),
    "secret": form.extra_fields["certifications_api_key"]["schema"]["format"],
}))
"""
    output = _python(script, parsing_env, "-")
    assert output == {
        "hook": "springest_provider.hooks.springest.SpringestHook",
        "package": "airflow-provider-springest",
        "hidden": [True, False],
        "fields": sorted(EXTRAS),
        "secret": "password",
    }


def test_every_retry_rule_names_a_class_that_exists(parsing_env):
    """A misspelt path would silently never match."""
    script = """
import importlib, json
from springest_provider.retry_policy import RETRY_POLICY
for rule in RETRY_POLICY.rules:
    module, _, name = rule.exception.rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), name), Exception)
print(json.dumps(len(RETRY_POLICY.rules)))
"""
    assert _python(script, parsing_env, "-") > 10
