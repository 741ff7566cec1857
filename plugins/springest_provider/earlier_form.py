"""Recognises the form that an earlier try of a human-in-the-loop task has shown.

When a task is retried or cleared, Airflow 3.3.2 keeps its form with the old text and the old fields, whatever
the task asks now. Only a new run can show another form.
"""

from __future__ import annotations

import json

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.api.datamodels._generated import HITLUser
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult


def keeps_another_form(context: Context, operator: HITLOperator) -> bool:
    """
    Return whether Airflow shows another form for this task than ``operator`` asks.

    Like asking again, it discards an answer that the form has received.
    """
    if context["ti"].try_number == 1:
        return False
    asked = CreateHITLDetailPayload(
        ti_id=context["ti"].id,
        options=operator.options,
        subject=operator.subject,
        body=operator.body,
        defaults=operator.defaults,
        multiple=operator.multiple,
        params=json.loads(json.dumps(operator.serialized_params)),
        assigned_users=[HITLUser(**user) for user in operator.assigned_users or []],
    )
    shown = task_runner.SUPERVISOR_COMMS.send(asked)
    if not isinstance(shown, HITLDetailRequestResult):
        return True
    return (shown.subject, shown.body, shown.params) != (asked.subject, asked.body, asked.params)
