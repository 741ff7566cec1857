"""Airflow notifiers: the summary of a night, a failed task, a missed deadline.

Where a message goes is a Variable; see ``channels``. Without it, it is in the log alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow.sdk import BaseNotifier, Context

from springest.errors import SpringestError
from springest.review.night import Night, Unverified, look_at_night
from springest.review.waiting import Waiting
from springest_provider import factories
from springest_provider.hooks.springest import SpringestHook
from springest_provider.notifications.channels import send
from springest_provider.notifications.message import Item, Message, Section
from springest_provider.run_context import is_scheduled
from springest_provider.ui.links import deliveries_url, delivery_url, overview_url, site_of

RUNBOOK: Final = "docs/runbook.md"


class SiteNotifier(BaseNotifier):
    """Base of the notifiers that look at the ledger."""

    def __init__(
        self,
        *,
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        context: Context | None = None,
    ) -> None:
        super().__init__(context=context)
        self.springest_conn_id = springest_conn_id
        self.warehouse_conn_id = warehouse_conn_id

    def _night(self) -> Night:
        site = SpringestHook(self.springest_conn_id).get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            return look_at_night(engine, site)


class SpringestSummaryNotifier(SiteNotifier):
    """
    Send one summary a night: certificates sent, cases for a person, overdue steps, growth of the queue.

    As ``on_success_callback`` of the publishing task. Runs that an asset or a person triggered send none.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    """

    def notify(self, context: Context) -> None:
        """Send the summary if the run is a scheduled one."""
        if is_scheduled(context):
            send(summary_of(self._night()), context)


class SpringestFailureNotifier(BaseNotifier):
    """Say which task failed, why, and what to do; as ``on_failure_callback`` of tasks."""

    def notify(self, context: Context) -> None:
        """Send it."""
        send(failure_of(context), context)


class SpringestDeadlineNotifier(SiteNotifier):
    """
    Say that a run has not finished by its deadline; as the ``AsyncCallback`` of a ``DeadlineAlert``.

    It runs in Airflow's triggerer. A ``SyncCallback`` runs in an executor, where Airflow 3.3 lets it read no
    connection and no Variable of its own database.

    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    """

    def notify(self, context: Context) -> None:
        """Send it, with the state of the queue if the warehouse responds."""
        send(deadline_of(context, self._queue(), site=site_of(self)), context)

    async def async_notify(self, context: Context) -> None:
        """Send it from a thread, so that nothing else in the triggerer waits for it."""
        await asyncio.to_thread(self.notify, context)

    def _queue(self) -> str:
        try:
            return _queue(self._night())
        except Exception as error:  # noqa: BLE001 - the deadline is missed, whatever else is wrong
            return f"The queue can't be read: {type(error).__name__}"


def summary_of(night: Night) -> Message:
    """Return the message of a night; one line if there is nothing to report."""
    site = night.status.site
    if night.is_quiet:
        return Message(f"Springest ({site}): nothing was sent, and nothing waits")
    day, people = night.last_day, night.status.for_a_person
    attention = f", {people:,} need{'s' if people == 1 else ''} a person" if people else ""
    overdue = ", something is overdue" if night.overdue else ""
    subject = f"Springest ({site}): {day.sent:,} sent{attention}{overdue}"
    sections = [Section("The last 24 hours", tuple(_last_day(night)))]
    if people:
        items = [*map(_waiting, night.waiting)]
        if people > len(items):
            items.append(Item(f"{people - len(items):,} more", deliveries_url(site, needs="person")))
        sections.append(Section("Needs a person, oldest first", items))
    late = [*map(Item, night.overdue), *(_unverified(site, group) for group in night.unverified)]
    if late:
        sections.append(Section("Overdue", late))
    return Message(subject, sections)


def failure_of(context: Mapping[str, Any]) -> Message:
    """
    Return the message of a failed task.

    The text of this project's errors contains no e-mail addresses or keys; of other errors, only the class is
    named.
    """
    task_instance, error = context["ti"], context.get("exception")
    name = f"{task_instance.dag_id}.{task_instance.task_id}"
    kind = type(error).__name__ if isinstance(error, BaseException) else "an unknown reason"
    url = deliveries_url(site_of(context.get("task")), run=str(task_instance.run_id))
    items = [
        Item(str(error)) if isinstance(error, SpringestError) else Item(f"{kind}: see the end of the log"),
        Item(f"What to do: the entry {kind} of {RUNBOOK}. Clearing the task is always safe"),
        Item("Log", str(getattr(task_instance, "log_url", "") or "")),
        Item("Deliveries of this run", url),
    ]
    return Message(f"Springest: {name} failed: {kind}", [Section(f"Run {task_instance.run_id}", items)])


def deadline_of(context: Mapping[str, Any], queue: str, *, site: str) -> Message:
    """Return the message of a missed deadline.

    :param queue: the state of the queue, as a sentence.
    """
    run, deadline = dict(context.get("dag_run") or {}), dict(context.get("deadline") or {})
    dag_id, run_id = run.get("dag_id", "a DAG"), str(run.get("dag_run_id", ""))
    items = [
        Item(f"The run {run_id} had not finished by {deadline.get('deadline_time', 'its deadline')}"),
        Item(queue),
        Item(f"What to do: the entry DeadlineMissed of {RUNBOOK}"),
        Item("Deliveries of this run", deliveries_url(site, run=run_id)),
    ]
    return Message(f"Springest: {dag_id} missed its deadline", [Section("What happened", items)])


def _last_day(night: Night) -> Iterator[Item]:
    day = night.last_day
    yield Item(
        f"{day.sent:,} sent: {day.accepted:,} accepted, {day.refused:,} refused, {day.unknown:,} unknown. "
        f"{day.set_aside:,} new ones set aside. {day.became_visible:,} shown by Springest for the first time"
    )
    yield Item(_queue(night))
    yield Item("All of it", overview_url(night.status.site))


def _queue(night: Night) -> str:
    status, day = night.status, night.last_day
    if not status.ready:
        return "The queue is empty"
    grows = "It grows" if night.is_queue_growing else "It does not grow"
    return (
        f"{status.ready:,} are in the queue, {status.hours_left:.1f} hours of sending at the site's pace. "
        f"{grows}: {day.entered:,} came in, {day.sent:,} went out"
    )


def _waiting(waiting: Waiting) -> Item:
    issue = f" issue {waiting.issue_no}" if waiting.issue_no != 1 else ""
    because = waiting.review_reason or waiting.reason or "no reason"
    since = waiting.sent_at or waiting.updated_at
    return Item(
        f"{waiting.training_id}{issue} is {waiting.state} ({because}) since {since:%Y-%m-%d}",
        delivery_url(waiting.delivery_key),
    )


def _unverified(site: str, unverified: Unverified) -> Item:
    name = f" ({unverified.name})" if unverified.name else ""
    return Item(
        f"Certification {unverified.certification_id}{name}: {unverified.certificates:,} certificates wait "
        f"for its verification, the oldest since {unverified.oldest_sent_at:%Y-%m-%d}: ask Springest "
        "to verify it",
        deliveries_url(site, certification=unverified.certification_id, verdict="awaiting_verification"),
    )
