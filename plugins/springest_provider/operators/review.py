"""Operators of ``springest_review``: ask a person, apply the answers, go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperatorLink, Context
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from croniter import croniter  # type: ignore[import-untyped]
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from springest.errors import ConfigurationError, DecisionRefused, SpringestError
from springest.privacy.secret import keep_to_secret
from springest.redaction import Redactor, show_unseen
from springest.review.agenda import MOST, make_agenda, needing_decisions
from springest.review.answers import APPROVED, Applied, apply_answers, apply_approvals, refuse
from springest.review.approvals import has_approved_unsent
from springest.review.decisions import Decisions, refusal_of
from springest.review.rules import ReleaseRules
from springest.site import Site
from springest.snapshot.snapshot import take_snapshot
from springest.source.contract import CompletedTraining
from springest.staging.stage import look_up
from springest_provider import factories
from springest_provider.earlier_form import keeps_another_form
from springest_provider.hooks.springest import SpringestHook
from springest_provider.operators.base import Parameters, sources_of
from springest_provider.review_form import (
    APPLY,
    BY,
    WAIT_FOR_ALL,
    WHY,
    Asked,
    make_form,
    read_form,
    read_refused,
    read_text,
)
from springest_provider.ui.links import OverviewLink
from springest_provider.users import recorded_name

ASKS_AT: Final = "0 7 * * *"
"""When the schedule asks, in UTC: after the night's reconciliation."""
REFUSED_KEY: Final = "refused"
APPROVED_KEY: Final = "approved"
LOST: Final = {
    "the form before this one": "Airflow ended its task, perhaps while it applied answers. What was decided "
    "is not asked again; answer the rest again"
}


class SpringestReviewOperator(HITLOperator):
    """
    Ask a person about everything that needs a decision, in one form, and apply the answers.

    The task waits without a worker slot. Without an answer, or with *Wait*, nothing changes. Each answer is
    judged by the rules of ``bin/springest review``, about the version that was shown; the Airflow user who
    answered is recorded with it. If nothing needs a decision, the task is skipped.

    If a try dies while it applies the answers, those that were applied stay, and a new run asks about the
    rest: a retried or cleared task can't change its form.

    :param sql: the query of completed trainings; a release reads the row again.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param source_conn_id: connection of the source.
    :param parameters: values of the query's further bound parameters. It, ``sql`` and ``source_conn_id`` are
        lists if the site has several sources.
    :param asks_at: the schedule, as a cron expression. A form expires when it asks again, and after a day at
        most: a run that still waits would keep the next one from asking.
    :param time_zone: time zone of ``asks_at``.
    :param kwargs: of ``HITLOperator``, such as ``assigned_users`` and ``notifiers``.
    :returns: counts: ``decided``, ``approved`` and ``refused``.
    """

    template_fields: Collection[str] = (
        "subject",
        "sql",
        "springest_conn_id",
        "warehouse_conn_id",
        "source_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    operator_extra_links: Collection[BaseOperatorLink] = (OverviewLink(),)

    def __init__(
        self,
        *,
        sql: str | list[str],
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        source_conn_id: str | list[str] = "training_source",
        parameters: Parameters = None,
        asks_at: str = ASKS_AT,
        time_zone: str = "UTC",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Springest",
            options=[APPLY, WAIT_FOR_ALL],
            defaults=WAIT_FOR_ALL,
            response_timeout=timedelta(days=1),
            **kwargs,
        )
        self.sql = sql
        self.springest_conn_id = springest_conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self.source_conn_id = source_conn_id
        self.parameters = parameters
        self.asks_at = asks_at
        self.time_zone = time_zone

    def execute(self, context: Context) -> dict[str, int] | None:
        """
        Show the form and wait.

        If an earlier try has approved a run and died, the rest of the DAG run goes on instead: ``deliver``
        sends the run, and ``again`` asks about what is left.

        :raises AirflowSkipException: nothing needs a decision.
        """
        site = SpringestHook(self.springest_conn_id).get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            if context["ti"].try_number > 1 and has_approved_unsent(engine, site=site.name):
                self.log.info(
                    "An earlier try approved a run: it is sent now, and what is left is asked again"
                )
                return self._hand_over(context, [], approved=True, refused={})
            waiting = needing_decisions(engine, site=site.name)
            rows = self._rows_or_none(engine, site, [delivery.training_id for delivery in waiting[:MOST]])
            agenda = make_agenda(engine, _decisions(engine, site), waiting, site=site.name, rows=rows)
        if not agenda:
            message = "Nothing needs a decision"
            self.log.info("%s", message)
            raise AirflowSkipException(message)
        refused = read_refused((context["dag_run"].conf or {}).get(REFUSED_KEY))
        earlier = read_refused(context["task_state_store"].get(REFUSED_KEY))
        form = make_form(agenda, site=site.name, refused=refused | earlier, redactor=Redactor(site.secrets))
        self.subject, self.body = form.subject, form.body
        self.params = ParamsDict(dict(form.params))
        self.response_timeout = until(self.asks_at, datetime.now(ZoneInfo(self.time_zone)))
        self.log.info("%s", form.subject)
        if keeps_another_form(context, self):
            self.log.info("An earlier try has shown another form: a new run asks")
            return self._hand_over(context, [], approved=False, refused={**refused, **(earlier or LOST)})
        try:
            return super().execute(context)  # type: ignore[no-any-return]
        except TaskAwaitingInput as waits:
            raise TaskAwaitingInput(
                method_name="execute_complete",
                kwargs={"asked": form.asked.as_dict()},
                timeout=waits.timeout,
            ) from None

    def execute_complete(
        self, context: Context, event: dict[str, Any], asked: Mapping[str, Any] | None = None
    ) -> dict[str, int]:
        """Apply the answers; what is refused is left for the next task, with the reason."""
        response = super().execute_complete(context, event)
        user = response["responded_by_user"]
        if response["chosen_options"] != [APPLY] or user is None:
            self.log.info("Nothing was decided; what waits is asked again")
            return {"decided": 0, "approved": 0, "refused": 0}
        applied = self._apply(Asked.of(asked or {}), response["params_input"], user)
        for answer in applied:
            if answer.refusal:
                self.log.warning("%s: %s refused: %s", answer.label, answer.answer, answer.refusal)
            else:
                self.log.info("%s: %s, is %s now", answer.label, answer.answer, answer.became)
        refused = {answer.subject: answer.refusal for answer in applied if answer.refusal}
        # Airflow may retry this task although it is about to succeed: then the next try reads the reasons.
        context["task_state_store"].set(REFUSED_KEY, dict[str, Any](refused))
        approved = any(answer.became == APPROVED for answer in applied)
        return self._hand_over(context, applied, approved=approved, refused=refused or None)

    def _apply(self, asked: Asked, given: Mapping[str, Any], user: Mapping[str, Any]) -> list[Applied]:
        """Apply the answers; return the results without addresses and keys."""
        site = SpringestHook(self.springest_conn_id).get_site()
        redactor = Redactor(site.secrets)

        def clean(text: str) -> str:
            return show_unseen(redactor.redact(text))

        return [
            replace(
                result,
                subject=clean(result.subject),
                label=clean(result.label),
                answer=clean(result.answer),
                refusal=result.refusal and clean(result.refusal),
            )
            for result in self._results(site, redactor, asked, given, user)
        ]

    def _results(
        self,
        site: Site,
        redactor: Redactor,
        asked: Asked,
        given: Mapping[str, Any],
        user: Mapping[str, Any],
    ) -> Iterator[Applied]:
        form = read_form(asked, given)
        yield from (field.refused("the form has no such field") for field in form.unknown)
        try:
            reason = read_text(form.why, WHY)
            by = recorded_name(str(user["id"]), str(user.get("name") or ""), read_text(form.by, BY))
        except (ConfigurationError, DecisionRefused) as error:
            yield from refuse((*form.deliveries, *form.runs), str(error))
            return
        with factories.warehouse(self.warehouse_conn_id) as engine:
            yield from apply_approvals(
                engine, form.runs, site=site.name, by=by, reason=reason, redactor=redactor
            )
            trainings = {key: training for key, _, training, _ in asked.deliveries.values()}

            def find_rows(keys: Sequence[str]) -> Mapping[str, Sequence[CompletedTraining]]:
                self._read_springest(site, by)
                return self._rows(engine, site, [trainings[key] for key in keys])

            yield from apply_answers(
                _decisions(engine, site), form.deliveries, by=by, reason=reason, find_rows=find_rows
            )

    @staticmethod
    def _hand_over(
        context: Context, applied: Sequence[Applied], *, approved: bool, refused: Mapping[str, str] | None
    ) -> dict[str, int]:
        """Let the next tasks send what was approved, and ask again about what was refused."""
        if refused is not None:
            context["ti"].xcom_push(key=REFUSED_KEY, value={REFUSED_KEY: dict(refused)})
        if approved:
            context["ti"].xcom_push(key=APPROVED_KEY, value={})
        refusals = sum(answer.refusal is not None for answer in applied)
        runs = sum(answer.became == APPROVED for answer in applied)
        return {"decided": len(applied) - refusals - runs, "approved": runs, "refused": refusals}

    def _rows(
        self, engine: Engine, site: Site, training_ids: Sequence[str]
    ) -> dict[str, list[CompletedTraining]]:
        pseudonyms = factories.pseudonyms()
        with engine.begin() as connection:
            keep_to_secret(connection, pseudonyms)
        with factories.reader(sources_of(self.sql, self.source_conn_id, self.parameters)) as reader:
            return look_up(reader, training_ids, site=site.name, pseudonyms=pseudonyms)

    def _rows_or_none(
        self, engine: Engine, site: Site, training_ids: Sequence[str]
    ) -> dict[str, list[CompletedTraining]]:
        """Return what the source has, or nothing if it does not respond: the rest can still be asked."""
        try:
            return self._rows(engine, site, training_ids)
        except SpringestError as error:
            self.log.warning("The source can't be read, so no release is offered: %s", error)
            return {}

    def _read_springest(self, site: Site, by: str) -> None:
        """Take a snapshot, which a release needs; without it, the releases are refused with the reason."""

        async def take() -> None:
            async with SpringestHook(self.springest_conn_id).connect(self.warehouse_conn_id) as session:
                await take_snapshot(
                    session.engine,
                    session.client,
                    site=site.name,
                    run_id=f"review by {by}",
                    pseudonyms=factories.pseudonyms(),
                )

        try:
            asyncio.run(take())
        except (SpringestError, SQLAlchemyError) as error:
            self.log.warning("Springest's list can't be read: %s", refusal_of(error))


class TriggerIfAskedOperator(TriggerDagRunOperator):
    """
    Trigger a DAG once if an upstream task asked for it, else skip.

    :param xcom_task_id: that task.
    :param xcom_key: key of the XCom that holds the new run's ``conf``; without one, the task is skipped.
    """

    def __init__(self, *, xcom_task_id: str, xcom_key: str, **kwargs: Any) -> None:
        super().__init__(logical_date=None, skip_when_already_exists=True, **kwargs)
        self.xcom_task_id = xcom_task_id
        self.xcom_key = xcom_key

    def execute(self, context: Context) -> Any:
        """
        Trigger the run.

        :raises AirflowSkipException: nobody asked for it.
        """
        conf = context["ti"].xcom_pull(task_ids=self.xcom_task_id, key=self.xcom_key)
        if conf is None:
            raise AirflowSkipException(f"nothing is {self.xcom_key}")
        self.conf = conf
        return super().execute(context)


def until(asks_at: str, now: datetime) -> timedelta:
    """Return how long it is from ``now`` to the next time of a cron expression in its zone, a day at most."""
    upcoming: datetime = croniter(asks_at, now).get_next(datetime)
    return min(upcoming.astimezone(UTC) - now.astimezone(UTC), timedelta(days=1))


def _decisions(engine: Engine, site: Site) -> Decisions:
    return Decisions(
        engine,
        site=site.name,
        rules=ReleaseRules(listed_is_verified=site.catalogue_lists_verified_only),
        redactor=Redactor(site.secrets),
    )
