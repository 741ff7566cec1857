"""The page as its users use it, in a browser, in a real Airflow behind a login and a prefix."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from demo import source_database
from demo.progress import finish, until
from springest_provider.review_form import APPLY

PAGES = ("", "deliveries", "deliveries?needs=person", "deliveries?state=invalid", "dictionary")
DELIVER, REVIEW = "springest_deliver", "springest_review"


@pytest.fixture(scope="session")
def lost(site):
    """A delivery whose response was lost: its key, training and the learner's address."""
    statement = "SELECT delivery_key, training_id FROM springest.delivery WHERE state = 'unknown'"
    with site.world.warehouse.connect() as connection:
        row = connection.execute(text(f"{statement} ORDER BY sent_at LIMIT 1")).one()
    statement = text(
        "SELECT email FROM completed_training JOIN learner USING (learner_id)"
        " WHERE training_id = :training_id"
    )
    with site.world.source.connect() as connection:
        email = connection.execute(statement, {"training_id": row.training_id}).scalars().first()
    return row.delivery_key, row.training_id, email


def rows(world, statement):
    with world.warehouse.connect() as connection:
        return connection.execute(text(statement)).all()


def posts(site) -> int:
    return sum(request.method == "POST" for request in site.world.sandbox.requests())


def test_a_connection_is_made_and_tested(sign_in, site):
    """The test of a connection made in Airflow's form fails with a wrong key, and does not show it."""
    page, sandbox = sign_in("olga"), urlsplit(site.world.sandbox_url)
    page.goto(f"{site.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("springest_trial")
    form.get_by_role("combobox").click()
    page.keyboard.type("springest")
    page.keyboard.press("Enter")
    form.locator("input[name=host]").fill(f"http://{sandbox.hostname}")
    form.locator("input[name=port]").fill(str(sandbox.port))
    _enter_keys(form, "a-wrong-canary-key", "another-wrong-canary-key")
    connection = page.locator("tr", has_text="springest_trial")
    test = connection.get_by_role("button", name="Test Connection")
    test.click()
    refusal = page.get_by_text("Test Connection Failed").locator("../..").first
    refusal.wait_for()
    assert "key" in refusal.inner_text().lower()
    assert "canary" not in page.content()
    connection.get_by_role("button", name="Edit Connection").click()
    _enter_keys(form, *site.world.keys)
    test.click()
    test.locator("svg[color=green]").wait_for()
    connection.get_by_role("button", name="Delete Connection").click()
    page.get_by_role("button", name="Yes, Delete").click()
    connection.wait_for(state="detached")


def _enter_keys(form, for_certificates, for_certifications):
    form.locator("input[name=password]").fill(for_certificates)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.locator("input[name=element_certifications_api_key]").fill(for_certifications)
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")


def test_an_operator_works_through_a_morning(sign_in, site, lost, tmp_path):
    """Sign in, look at the night, search by address, read the story, decide, export."""
    _, training, email = lost
    page = sign_in("olga")
    page.locator("h2", has_text="What became of the last nights").wait_for()
    page.locator(".todo a", has_text=training).wait_for()

    page.click("nav >> text=Deliveries")
    page.click("summary")
    page.fill("input[name=address]", f" {email.upper()}")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".list a", has_text=training).wait_for()
    assert email.lower() not in page.content().lower()
    assert email.split("@")[0].lower() not in page.url.lower()

    page.click(f".list a:has-text('{training}')")
    page.locator("text=the outcome is unknown").wait_for()
    page.click("a:has-text('Decide')")
    late = page.context.new_page()
    late.goto(page.url)
    page.locator("#release input[name=without_evidence]").check()
    page.fill("#release input[name=why]", "the admin does not show it")
    page.click("#release button")
    page.locator("text=is now ready").wait_for()
    with site.world.warehouse.connect() as connection:
        made = connection.execute(text("SELECT decided_by, decision FROM springest.delivery_decision")).all()
    assert made == [("olga", "release")]

    late.fill("#cancel input[name=why]", "decided by somebody who saw an old version")
    late.click("#cancel button")
    late.locator("text=Refused: nothing was changed").wait_for()
    late.close()

    page.goto(f"{site.url}/springest/deliveries?state=invalid")
    with page.expect_download() as download:
        page.click("text=Export CSV")
    path = tmp_path / "export.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    assert {row["state"] for row in rows} == {"invalid"}
    assert page.failures == []


def test_the_required_action_decides_as_well(sign_in, site):
    """The second lost response is decided by the morning's form, which names the user who answered."""
    world, page = site.world, sign_in("olga")
    world.airflow.unpause(REVIEW)
    [run, *_] = until(world, lambda: world.airflow.runs(REVIEW), "the review")
    [training] = rows(world, "SELECT training_id FROM springest.delivery WHERE state = 'unknown'")

    def waits():
        tasks = world.airflow.task_instances(REVIEW, run["dag_run_id"])
        return any(task["state"] == "awaiting_input" for task in tasks)

    until(world, waits, "the form")
    page.goto(f"{site.url}/required_actions")
    page.get_by_text("to decide").first.click()
    # Airflow's labels do not belong to their fields.
    label = page.locator("label", has_text=f"Training {training[0]}")
    label.locator("xpath=following::input[1]").fill("release without evidence")
    page.locator("input[name=element_why]").fill("the admin does not show it")
    assert "@example" not in page.content()
    page.get_by_role("button", name=APPLY).click()

    def made():
        found = rows(world, "SELECT decided_by, decision FROM springest.delivery_decision")
        return found if len(found) > 1 else None

    assert until(world, made, "the decision") == [("olga", "release"), ("olga", "release")]


def test_a_dry_run_sends_nothing(sign_in, site):
    """A dry run from the trigger form sends nothing; its log says what it would."""
    page, before = sign_in("olga"), posts(site)
    form = _trigger_form(page, site)
    form.locator("label[id='switch:element_dry_run']").click()
    form.get_by_role("button", name="Advanced Options").click()
    form.locator("input[name=dagRunId]").fill("dry")
    form.get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(f"{site.url}/dags/{DELIVER}/runs/dry")
    finish(site.world, DELIVER, "dry")
    assert posts(site) == before
    page.goto(f"{site.url}/dags/{DELIVER}/runs/dry/tasks/stage")
    page.get_by_text("Would send:").first.wait_for()
    page.goto(f"{site.url}/springest/deliveries?run=dry")
    page.locator("text=No delivery fits").wait_for()


def _trigger_form(page, site):
    page.goto(f"{site.url}/dags/{DELIVER}")
    page.get_by_role("button", name="Trigger").first.click()
    return page.get_by_role("dialog").filter(has_text="Single Run")


def test_a_backfill_of_five_days_is_on_the_page(sign_in, site):
    """Five days that were missed are sent by a backfill, and each run's deliveries are listed."""
    world, page = site.world, sign_in("olga")
    today = datetime.combine(datetime.now(UTC).date(), time(1), UTC)
    days = [today - timedelta(days=number) for number in range(6, 1, -1)]
    for number, day in enumerate(days):
        trainings = world.nights[1].trainings[number :: len(days)]
        source_database.add(world.source, trainings, now=day + timedelta(hours=2))
    form = _trigger_form(page, site)
    form.get_by_text("Run this Dag for a range of dates").click()
    for day in (days[0], days[-1]):
        form.get_by_text("Select date and time").first.click()
        page.get_by_placeholder("YYYY/MM/DD").fill(f"{day:%Y/%m/%d}")
        page.get_by_placeholder("HH:mm").fill(f"{day:%H:%M}")
        page.keyboard.press("Escape")
        page.get_by_placeholder("YYYY/MM/DD").wait_for(state="hidden")
    form.get_by_role("button", name="Run Backfill").click()

    def finished():
        runs = [run for run in world.airflow.runs(DELIVER) if run["run_type"] == "backfill"]
        assert all(run["state"] != "failed" for run in runs)
        return runs if len(runs) == 5 and all(run["state"] == "success" for run in runs) else None

    for run in until(world, finished, "the backfill"):
        page.goto(f"{site.url}/springest/deliveries")
        page.click("summary")
        page.fill("input[name=run]", run["dag_run_id"])
        page.get_by_role("button", name="Show", exact=True).click()
        page.locator(".list tbody tr").first.wait_for()


def test_the_page_is_in_airflows_navigation(sign_in, site):
    """The page is shown inside Airflow's UI, and its links work there."""
    page = sign_in("olga")
    page.goto(f"{site.url}/plugin/springest")
    frame = page.frame_locator("iframe")
    frame.locator("text=What became of the last nights").wait_for()
    frame.locator("nav >> text=Needs a person").click()
    frame.locator("h1", has_text="Needs a person").wait_for()
    assert page.failures == []


def test_a_viewer_reads_and_does_not_decide(sign_in, site, lost):
    """A viewer sees verdicts, no address search, no ledger and no decision."""
    key, training, _ = lost
    page = sign_in("vera")
    page.goto(f"{site.url}/springest/deliveries?training={training}")
    assert page.locator(".list a", has_text=training).count() == 1
    assert page.locator("input[name=address], input[name=chosen]").count() == 0
    page.click(f".list a:has-text('{training}')")
    assert page.locator("a:has-text('Decide')").count() == 0
    assert page.locator("li.attempt").count() == 0
    assert page.goto(f"{site.url}/springest/deliveries/{key}/decide").status == 403


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_keeps_people_from_using_it(sign_in, site, lost, theme, width):
    """axe finds nothing serious in either theme, narrow or wide, and no page is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    page = sign_in("olga", theme=theme, width=width)
    for path in (*PAGES, f"deliveries/{lost[0]}", f"deliveries/{lost[0]}/decide"):
        page.goto(f"{site.url}/springest/{path}")
        for summary in page.locator("details:not([open]) > summary").all():
            summary.click()
        found = Axe().run(page).response["violations"]
        serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        assert serious == [], f"{path}: {[(rule['id'], rule['nodes'][0]['html']) for rule in serious]}"
        width_of = page.evaluate("document.documentElement.scrollWidth")
        assert width_of <= width, f"{path} is {width_of} pixels wide"


def test_the_access_log_and_pages_have_no_address(sign_in, site, lost):
    """No page, no export and no log of Airflow's API server has a learner's address or the site's keys."""
    with site.world.source.connect() as connection:
        found = connection.execute(text("SELECT email FROM learner WHERE email LIKE '%@%'")).scalars()
        addresses = {email.strip().lower() for email in found}
    assert len(addresses) > 20
    page = sign_in("olga")
    paths = (*PAGES, "deliveries.csv", f"deliveries/{lost[0]}", f"deliveries/{lost[0]}/decide")
    for path in paths:
        response = page.request.get(f"{site.url}/springest/{path}")
        assert response.ok
        assert not [email for email in addresses if email in response.text().lower()], path
    logs = "\n".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in site.world.logs.glob("airflow-api*")
        if path.is_file()
    )
    assert "/springest/deliveries" in logs
    assert not [email for email in addresses if email in logs.lower()]
    assert "%40" not in "".join(line for line in logs.splitlines() if "/springest/" in line)
    assert not re.search(r"api_key=\w", logs)
