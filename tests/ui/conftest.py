"""A browser and a real Airflow with a login: the demo, after a night in which a response was lost."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.__main__ import DAGS
from demo.airflow_home import _inherited, airflow
from demo.ports import free_port
from demo.world import World, complete, started
from sandbox.faults import Fault, Kind
from tests.conftest import SCRATCH

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PASSWORDS = {"olga": "a password of Olga", "vera": "a password of Vera"}
PREFIX = "/etl"
PATIENCE = 900


@dataclass(frozen=True, slots=True)
class Site:
    """The demo, and where its Airflow asks for a login, behind a prefix."""

    world: World
    url: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it where there is no browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.timeout(3_000))
            item.add_marker(pytest.mark.xdist_group("ui"))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no browser: `apt-get install chromium` brings one"))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Run a night of the demo, in which two responses are lost, and open a second API server."""
    folder = SCRATCH / "ui"
    with started(folder, tell=print, rows=40) as world:
        until(world, lambda: set(DAGS) <= world.airflow.dags())
        _scheduled(world, "springest_catalogue")
        for _ in range(2):  # one is decided on the page, the second by the required action
            world.sandbox.add_fault(Fault(Kind.CLOSE_BEFORE_STORING))
        complete(world, world.nights[0])
        world.begin_site()
        world.airflow.unpause("springest_reconcile")
        _scheduled(world, "springest_deliver")
        until(world, lambda: _is_reconciled(world))
        yield Site(world, _with_login(world, folder))


def _scheduled(world: World, dag_id: str) -> None:
    """Unpause a DAG, and wait for the run that its schedule makes."""
    world.airflow.unpause(dag_id)
    [run, *_] = until(world, lambda: world.airflow.runs(dag_id))
    world.airflow.wait_for_run(dag_id, run["dag_run_id"], seconds=PATIENCE, tick=world.supervisor.check)


def _is_reconciled(world: World) -> bool:
    """Whether the reconciliation that follows a delivery has succeeded, and no other is under way."""
    runs = world.airflow.runs("springest_reconcile")
    assert all(run["state"] != "failed" for run in runs)
    by_asset = [run for run in runs if run["run_type"] == "asset_triggered"]
    return bool(by_asset) and all(run["state"] == "success" for run in runs)


def until(world: World, ready: Callable[[], Any]) -> Any:
    """Wait until something is there, however busy the machine is; return it."""
    until = time.monotonic() + PATIENCE
    while not (found := ready()):
        world.supervisor.check()
        assert time.monotonic() < until, "Airflow is too slow"
        time.sleep(0.5)
    return found


def _with_login(world: World, folder: Path) -> str:
    """Start an API server of the same Airflow that knows its users, and return its address."""
    port = free_port()
    base = f"http://127.0.0.1:{port}{PREFIX}"
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS), encoding="utf-8")
    settings = {
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "olga:op,vera:viewer",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "API__PORT": str(port),
        "API__BASE_URL": base,
    }
    env = {
        **_inherited(),
        **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        "AIRFLOW_HOME": str(folder / "airflow"),
        "NO_PROXY": "127.0.0.1,localhost",
    }

    def is_well() -> bool:
        try:
            return httpx.get(f"{base}/api/v2/monitor/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    child = world.supervisor.start("airflow-api-server-with-login", airflow("api-server"), env=env)
    world.supervisor.wait_until(child, is_well, seconds=PATIENCE)
    return base


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def sign_in(site: Site, browser: Any) -> Iterator[Callable[..., Any]]:
    """Sign in to Airflow as a user, and give the browser's page."""
    contexts = []

    def signed_in(name: str, *, theme: str = "light", width: int = 1280) -> Any:
        context = browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, accept_downloads=True
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1_000)
        page = context.new_page()
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.on("request", lambda request: _note_elsewhere(page, request, site))
        page.goto(f"{site.url}/springest/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", PASSWORDS[name])
        page.click("button[type=submit]")
        page.wait_for_url(f"{site.url}/springest/")
        return page

    yield signed_in
    for context in contexts:
        context.close()


def _note_elsewhere(page: Any, request: Any, site: Site) -> None:
    """Note requests to other hosts: no asset of the page comes from elsewhere."""
    if request.frame.url.startswith(f"{site.url}/springest") and not request.url.startswith(site.url):
        page.failures.append(request.url)
