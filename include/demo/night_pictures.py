"""Pictures of what a night leaves behind in Airflow, in the mail and in a terminal.

The night is one of the demo's: Airflow runs it, and one response is lost.
"""

from __future__ import annotations

import html
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

from demo.airflow_home import PROJECT
from demo.ports import free_port
from demo.progress import finish, run_scheduled, until, wait_for_reconciliation
from demo.world import World, complete, started
from sandbox.faults import Fault, Kind

FOLDER: Final = PROJECT / ".springest" / "night-pictures"
DELIVER: Final = "springest_deliver"
REVIEW: Final = "springest_review"
_DAGS: Final = frozenset({"springest_catalogue", DELIVER, "springest_reconcile", REVIEW})
_PAGE: Final = """<!doctype html><html lang="en">
<meta name="color-scheme" content="light dark"><title>-</title>
<style>
body {{ margin: 0; padding: 16px 24px; width: 900px; font: {font} }}
pre {{ white-space: pre-wrap }}
</style>
{body}</html>"""


def take_of_a_night(browser: Any, pictures: Path) -> None:
    """
    Run a night, and take the pictures.

    :param browser: of Playwright.
    :param pictures: their folder.
    """
    with _mails() as (port, mails), started(FOLDER, tell=lambda _: None, rows=40) as world:
        until(world, lambda: world.airflow.dags() >= _DAGS, "the DAGs")
        _a_night(world, port)
        world.airflow.unpause(REVIEW)
        morning = until(world, lambda: _run_that_waits(world), "the form")
        [mail, *_] = until(world, lambda: [mail for mail in mails if _html(mail)], "the mail")
        for theme in ("light", "dark"):
            page = browser.new_page(color_scheme=theme)
            page.set_default_timeout(120_000)
            _of_airflow(page, f"{world.airflow_url}/dags", morning, pictures, theme)
            doctor = _PAGE.format(body=f"<pre>{html.escape(_doctor())}</pre>", font="13px monospace")
            _of_text(page, doctor, pictures / f"doctor-{theme}.png")
            page.close()
        page = browser.new_page()
        heads = (f"{name}: {html.escape(mail[name])}<br>" for name in ("From", "To", "Subject"))
        body = f"<p>{''.join(heads)}</p><hr>{_html(mail)}"
        _of_text(page, _PAGE.format(body=body, font="15px sans-serif"), pictures / "mail.png")
        page.close()


def _a_night(world: World, port: int) -> None:
    """Try a dry run, begin the site, and send a night; its summary goes to the mail server."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    world.airflow.add_connection("smtp_default", mail)
    world.airflow.add_variable("springest_notifications", '[{"by": "email", "to": ["etl@example.com"]}]')
    run_scheduled(world, "springest_catalogue")
    run_scheduled(world, DELIVER)  # skipped: the site has not begun
    complete(world, world.nights[0])
    world.begin_site()
    world.airflow.trigger(DELIVER, run_id="dry-run", conf={"dry_run": True})
    finish(world, DELIVER, "dry-run")
    world.sandbox.add_fault(Fault(Kind.CLOSE_BEFORE_STORING))
    world.airflow.unpause("springest_reconcile")
    world.airflow.trigger(DELIVER, run_id="night")
    finish(world, DELIVER, "night")
    wait_for_reconciliation(world)


def _run_that_waits(world: World) -> str | None:
    """Return the run of the review whose form is open."""
    for run in world.airflow.runs(REVIEW):
        tasks = world.airflow.task_instances(REVIEW, run["dag_run_id"])
        if any(task["state"] == "awaiting_input" for task in tasks):
            return str(run["dag_run_id"])
    return None


def _of_airflow(page: Any, url: str, morning: str, pictures: Path, theme: str) -> None:
    pages = {
        "review": (f"{REVIEW}/runs/{morning}/tasks/review/required_actions", "input[name=element_by]", 1_300),
        "dry-run": (f"{DELIVER}/runs/dry-run/tasks/stage", "text=Would stay in the queue", 800),
        "log": (f"{DELIVER}/runs/night/tasks/deliver", "text=completed  staged", 800),
        "note": (f"{DELIVER}/runs/night", "text=Springest:", 500),
    }
    for name, (path, ready, height) in pages.items():
        if theme == "light" or name == "review":
            page.set_viewport_size({"width": 1280, "height": height})
            page.goto(f"{url}/{path}")
            page.locator(ready).first.wait_for()
            page.screenshot(path=pictures / f"{name}-{theme}.png")


def _of_text(page: Any, shown: str, path: Path) -> None:
    page.set_content(shown)
    page.locator("body").screenshot(path=path)


def _doctor() -> str:
    """Return what ``bin/springest doctor`` prints."""
    command = [str(PROJECT / "bin" / "springest"), "doctor"]
    env = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(FOLDER / "airflow")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return f"$ bin/springest doctor\n{done.stdout.replace(str(PROJECT), '/opt/springest')}"


def _html(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    return "" if body is None else str(body.get_content())


@contextmanager
def _mails() -> Iterator[tuple[int, list[EmailMessage]]]:
    """Start a mail server; yield its port, and the mails that it receives."""
    from aiosmtpd.controller import Controller

    received: list[EmailMessage] = []

    class Mails:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802, ARG002
            received.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    port = free_port()
    controller = Controller(Mails(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port, received
    finally:
        controller.stop()
