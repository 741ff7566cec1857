"""Operators of ``springest_review``: ask a person, apply the answers, go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperatorLink, Context
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from sqlalchemy import Engine

from springest.errors import SpringestError
from springest.privacy.secret import keep_to_secret
from springest.redaction import Redactor
from springest.review.agenda import (
    MOST,
    Applied,
    apply_answers,
    apply_approvals,
    make_agenda,
    needing_decisions,
    read_answer,
)
from springest.review.decisions import Decisions
from springest.review.rules import ReleaseRules
from springest.site import Site
from springest.snapshot.snapshot import take_snapshot
from springest.source.contract import CompletedTraining
from springest.source.reader import SourceReader
from springest.staging.stage import look_up
from springest.states import DecisionKind
from springest_provider import factories
from springest_provider.hooks.springest import SpringestHook
from springest_provider.review_form import APPLY, WAIT_FOR_ALL, Asked, make_form, read_form
from springest_provider.ui.links import OverviewLink

ASK_FOR: Final = timedelta(hours=23)
"""How long a form waits: the next morning asks again, with what is known then."""
REFUSED_KEY: Final = "refused"
APPROVED_KEY: Final = "approved"


class SpringestReviewOperator(HITLOperator):
    """
    Ask a person about everything that needs a decision, in one form, and apply the answers.

    The task waits without a worker slot. Without an answer, or with *Wait*, nothing changes. Each answer is
    judged by the rules of ``bin/springest review``, about the version that was shown; the Airflow user who
    answered is recorded with it. If nothing needs a decision, the task is skipped.

    :param sql: the query of completed trainings; a release reads the row again.
    :param springest_conn_id: connection of the site.
    :param warehouse_conn_id: connection of the warehouse.
    :param source_conn_id: connection of the source.
    :param response_timeout: how long to wait for an answer.
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
        sql: str,
        springest_conn_id: str = SpringestHook.default_conn_name,
        warehouse_conn_id: str = "certificate_warehouse",
        source_conn_id: str = "training_source",
        response_timeout: timedelta = ASK_FOR,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Springest",
            options=[APPLY, WAIT_FOR_ALL],
            defaults=WAIT_FOR_ALL,
            response_timeout=response_timeout,
            **kwargs,
        )
        self.sql = sql
        self.springest_conn_id = springest_conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self.source_conn_id = source_conn_id

    def execute(self, context: Context) -> None:
        """
        Show the form and wait.

        :raises AirflowSkipException: nothing needs a decision.
        """
        site = SpringestHook(self.springest_conn_id).get_site()
        with factories.warehouse(self.warehouse_conn_id) as engine:
            waiting = needing_decisions(engine, site=site.name)
            rows = self._rows_or_none(engine, site, [delivery.training_id for delivery in waiting[:MOST]])
            agenda = make_agenda(engine, _decisions(engine, site), waiting, site=site.name, rows=rows)
        if not agenda:
            message = "Nothing needs a decision"
            self.log.info("%s", message)
            raise AirflowSkipException(message)
        refused = (context["dag_run"].conf or {}).get(REFUSED_KEY) or {}
        form = make_form(agenda, site=site.name, refused=refused, redactor=Redactor(site.secrets))
        self.subject, self.body = form.subject, form.body
        self.params = ParamsDict(dict(form.params))
        self.log.info("%s", form.subject)
        try:
            super().execute(context)
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
        by = login_of(user)
        applied = self._apply(Asked.of(asked or {}), response["params_input"], by=by)
        for answer in applied:
            if answer.refusal:
                self.log.warning("%s: %s refused: %s", answer.label, answer.answer, answer.refusal)
            else:
                self.log.info("%s: %s by %s, is %s now", answer.label, answer.answer, by, answer.became)
        refused = {answer.subject: answer.refusal for answer in applied if answer.refusal}
        approved = sorted(answer.subject for answer in applied if answer.became == "approved")
        if refused:
            context["ti"].xcom_push(key=REFUSED_KEY, value={REFUSED_KEY: refused})
        if approved:
            context["ti"].xcom_push(key=APPROVED_KEY, value={})
        return {
            "decided": len(applied) - len(refused) - len(approved),
            "approved": len(approved),
            "refused": len(refused),
        }

    def _apply(self, asked: Asked, given: Mapping[str, Any], *, by: str) -> list[Applied]:
        site = SpringestHook(self.springest_conn_id).get_site()
        answers, approvals, why = read_form(asked, given)
        labels = {key: f"training {label}" for key, _, _, label in asked.deliveries.values()}
        redactor = Redactor(site.secrets)
        with factories.warehouse(self.warehouse_conn_id) as engine:
            rows: Mapping[str, Sequence[CompletedTraining]] = {}
            released = {key for (key, _), answer in answers.items() if _is_release(answer)}
            if released:
                self._read_springest(site, by)
                named = [training for key, _, training, _ in asked.deliveries.values() if key in released]
                rows = self._rows(engine, site, named)
            return [
                *apply_answers(_decisions(engine, site), answers, labels, by=by, reason=why, rows=rows),
                *apply_approvals(engine, approvals, site=site.name, by=by, reason=why, redactor=redactor),
            ]

    def _rows(
        self, engine: Engine, site: Site, training_ids: Sequence[str]
    ) -> dict[str, list[CompletedTraining]]:
        pseudonyms = factories.pseudonyms()
        with engine.begin() as connection:
            keep_to_secret(connection, pseudonyms)
        with factories.source(self.source_conn_id) as database:
            reader = SourceReader(database, query=self.sql)
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
        except SpringestError as error:
            self.log.warning("Springest's list can't be read: %s", error)


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


def login_of(user: Mapping[str, Any]) -> str:
    """Return the login of an Airflow user, without the domain where it is an e-mail address."""
    name = str(user.get("name") or user.get("id") or "")
    return name.partition("@")[0].strip()


def _is_release(answer: str) -> bool:
    with suppress(SpringestError):
        read = read_answer(answer)
        return read is not None and read.decision is DecisionKind.RELEASE
    return False


def _decisions(engine: Engine, site: Site) -> Decisions:
    return Decisions(
        engine,
        site=site.name,
        rules=ReleaseRules(listed_is_verified=site.catalogue_lists_verified_only),
        redactor=Redactor(site.secrets),
    )
