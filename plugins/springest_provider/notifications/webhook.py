"""Airflow's HTTP notifier, without the response in the log."""

from __future__ import annotations

from functools import cached_property

from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.notifications.http import HttpNotifier
from requests import Response


class _QuietHttpHook(HttpHook):
    def check_response(self, response: Response) -> None:
        """Raise on failure. Airflow's hook also logs the body, in which servers repeat the URL: a secret."""
        response.raise_for_status()


class WebhookNotifier(HttpNotifier):
    """Airflow's HTTP notifier, which logs no response."""

    @cached_property
    def hook(self) -> HttpHook:
        """The hook that sends."""
        return _QuietHttpHook(method=self.method, http_conn_id=self.http_conn_id)
