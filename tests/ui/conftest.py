"""A browser and a real Airflow with a login: the demo, after a night in which a response was lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.__main__ import DAGS
from demo.airflow_home import _inherited, airflow
from demo.ports import free_port
from demo.progress import SECONDS, run_scheduled, until, wait_for_reconciliation
from demo.world import World, complete, started
from sandbox.faults import Fault, Kind
from tests.conftest import SCRATCH

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PASSWORDS = {"olga": "a password of Olga", "vera": "a password of Vera"}
PREFIX = "/etl"


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
        until(world, lambda: set(DAGS) <= world.airflow.dags(), "the DAGs")
        run_scheduled(world, "springest_catalogue")
        for _ in range(2):  # one is decided on the page, the second by the required action
            world.sandbox.add_fault(Fault(Kind.CLOSE_BEFORE_STORING))
        complete(world, world.nights[0])
        world.begin_site()
        world.airflow.unpause("springest_reconcile")
        run_scheduled(world, "springest_deliver")
        wait_for_reconciliation(world)
        yield Site(world, _with_login(world, folder))


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
    world.supervisor.wait_until(child, is_well, seconds=SECONDS)
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
        context.set_default_timeout(120_000)
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
