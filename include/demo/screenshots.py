"""``make screenshots``: the page "Springest" and what a night leaves behind, into docs/screenshots/.

A real Airflow serves the page, in light and dark, wide and narrow; its deliveries are invented. For the
rest, a night of the demo is run.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine

from demo import source_database
from demo.airflow_home import PROJECT, AirflowApi, airflow, environment, start_component, wait_for_component
from demo.history import fill_for_screenshots
from demo.night_pictures import take_of_a_night
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.processes import Supervisor
from demo.world import alone, connections, migrate

FOLDER: Final = PROJECT / ".springest" / "screenshots"
PICTURES: Final = PROJECT / "docs" / "screenshots"
WIDTHS: Final = {"wide": 1280, "narrow": 390}
HEIGHT: Final = 900


def main() -> int:
    """
    Take the pictures.

    :returns: 1 when there is no browser.
    """
    logging.basicConfig(level=logging.WARNING)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stderr.write("No browser: `apt-get install chromium` brings one\n")
        return 1
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with _airflow() as (url, keys):
            take_of_the_page(browser, url, keys)
        take_of_a_night(browser, PICTURES)
        browser.close()
    return 0


def take_of_the_page(browser: Any, url: str, keys: tuple[str, str]) -> None:
    """
    Take the pictures of the page and of the trigger form.

    :param browser: of Playwright.
    :param url: of an Airflow that lets everybody in.
    :param keys: of a delivery whose story is shown, and of one that is decided about.
    """
    pages = {
        "overview": "",
        "deliveries": "deliveries?needs=person",
        "story": f"deliveries/{keys[0]}",
        "decide": f"deliveries/{keys[1]}/decide",
        "dictionary": "dictionary",
    }
    for theme in ("light", "dark"):
        for width, pixels in WIDTHS.items():
            viewport: Any = {"width": pixels, "height": HEIGHT}
            page = browser.new_page(viewport=viewport, color_scheme=theme)
            for name, path in pages.items():
                page.goto(f"{url}/springest/{path}")
                page.screenshot(path=PICTURES / f"{name}-{theme}-{width}.png")
            page.close()
    page = browser.new_page(viewport={"width": 1440, "height": HEIGHT})
    page.goto(f"{url}/plugin/springest")
    page.frame_locator("iframe").locator("text=What became of the last nights").wait_for()
    page.screenshot(path=PICTURES / "airflow.png")
    page.goto(f"{url}/dags/springest_deliver")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Dry run").first.wait_for()
    page.screenshot(path=PICTURES / "trigger.png")
    page.close()


@contextmanager
def _airflow() -> Iterator[tuple[str, tuple[str, str]]]:
    """Start an API server over an invented history; yield its URL, and deliveries to show."""
    with (
        alone(FOLDER),
        Supervisor(FOLDER / "logs") as supervisor,
        EmbeddedPostgres(FOLDER / "postgres") as postgres,
    ):
        metadata_url, source_url, warehouse_url = (
            postgres.create_database(name) for name in ("airflow", "source", "warehouse")
        )
        keys = _fill(source_url, warehouse_url)
        env = environment(
            Path(FOLDER / "airflow"),
            metadata_url=metadata_url.replace("+psycopg:", "+psycopg2:"),
            api_port=free_port(),
            connections=connections(source_url, warehouse_url, "http://127.0.0.1:9", ("none", "none"), {}),
            variables={"springest_learner_secret": "an invented secret for pictures, long enough"},
        )
        supervisor.run("airflow-db-migrate", airflow("db", "migrate"), env=env)
        supervisor.run("airflow-dags-reserialize", airflow("dags", "reserialize"), env=env)
        url = env["AIRFLOW__API__BASE_URL"]
        api = AirflowApi(url)
        wait_for_component(supervisor, api, start_component(supervisor, env, "api-server"), "api-server")
        api.close()
        yield url, keys


def _fill(source_url: str, warehouse_url: str) -> tuple[str, str]:
    migrate(warehouse_url)
    source, warehouse = create_engine(source_url), create_engine(warehouse_url)
    try:
        source_database.create_schema(source)
        return fill_for_screenshots(warehouse)
    finally:
        source.dispose()
        warehouse.dispose()


if __name__ == "__main__":
    sys.exit(main())
