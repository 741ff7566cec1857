"""A worker whose stop does not reach the delivering task."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from springest.errors import ConfigurationError
from springest_provider.operators.deliver import SpringestDeliverOperator
from springest_provider.run_context import STOP_LOST


@pytest.mark.parametrize(("setting", "warns"), [("0", True), ("1", False), (None, False)])
def test_a_task_that_a_stop_does_not_reach_logs_a_warning(monkeypatch, caplog, setting, warns):
    """Airflow's official chart sets 0 for Celery workers; the image's default is 1."""
    monkeypatch.delenv("DUMB_INIT_SETSID", raising=False)
    if setting is not None:
        monkeypatch.setenv("DUMB_INIT_SETSID", setting)
    operator = SpringestDeliverOperator(task_id="deliver", sql="SELECT 1")
    operator.hook = Mock(get_site=Mock(side_effect=ConfigurationError("the task went on")))
    with pytest.raises(ConfigurationError, match="the task went on"):
        operator.work({})
    assert [record.getMessage() for record in caplog.records] == ([STOP_LOST] if warns else [])
