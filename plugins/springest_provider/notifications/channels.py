"""Passes a message to Airflow's own notifiers, as configured in the Variable ``springest_notifications``.

It is a JSON list with an object for each channel, such as::

    [{"by": "email", "to": ["certificates@example.com"]},
     {"by": "slack", "slack_webhook_conn_id": "slack_certificates"},
     {"by": "webhook", "http_conn_id": "incident_tool", "endpoint": "hooks/springest"}]

All keys but ``by`` are parameters of the notifier. ``by`` may also be the path of any other notifier, whose
templates then contain parts of the message: ``{{ springest.title }}``, ``.text``, ``.html`` and ``.slack``.

Errors and logs identify a channel by its number and show none of its values: a webhook's URL is a secret,
even in the wrong field.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from inspect import signature
from typing import Any, Final

from airflow.sdk import BaseNotifier
from airflow.sdk.module_loading import import_string  # type: ignore[attr-defined]

from springest.errors import ConfigurationError, SpringestError
from springest_provider.lookups import read_variable
from springest_provider.notifications.message import Message

log = logging.getLogger(__name__)

VARIABLE: Final = "springest_notifications"
_EXAMPLE: Final = '[{"by": "email", "to": ["certificates@example.com"]}]'
_CHANNELS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "email": (
        "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
        {"subject": "{{ springest.title }}", "html_content": "{{ springest.html }}"},
    ),
    "slack": (
        "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier",
        {"text": "{{ springest.slack }}"},
    ),
    "webhook": (
        "springest_provider.notifications.webhook.WebhookNotifier",
        {
            "json": {"subject": "{{ springest.title }}", "text": "{{ springest.text }}"},
            "extra_options": {"timeout": 30},
        },
    ),
}


class NotificationFailed(SpringestError):
    """At least one channel failed to send a message."""


def send(message: Message, context: Mapping[str, Any]) -> None:
    """
    Log a message, and send it by each channel; if one fails, the others still send it.

    :param context: context of the task or the run.
    :raises ConfigurationError: the Variable holds no list of channels; nothing was sent.
    :raises NotificationFailed: at least one channel failed.
    """
    for line in message.text.splitlines():
        log.info("%s", line)
    failed = []
    for number, channel in enumerate(_channels(), start=1):
        name = f"channel {number}" + (f" ({channel['by']})" if channel["by"] in _CHANNELS else "")
        try:
            notifier = _notifier(channel, name)
            values: Any = {**context, "springest": message}
            notifier.render_template_fields(values)
            notifier.notify(values)
        except SpringestError as error:
            failed.append(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a provider or its library raises
            # Not its text: that of HTTP libraries holds the URL, and a webhook's URL is a secret.
            failed.append(f"{name} failed: {type(error).__name__}; look at its connection")
        else:
            log.info("Sent by %s", name)
    if failed:
        raise NotificationFailed(f"the Variable {VARIABLE}: {'; '.join(failed)}")


def _channels() -> list[Mapping[str, Any]]:
    value = read_variable(VARIABLE)
    if not value:
        return []
    try:
        channels = json.loads(value)
    except ValueError:
        channels = None
    if not isinstance(channels, list) or not all(
        isinstance(channel, dict) and isinstance(channel.get("by"), str) for channel in channels
    ):
        raise ConfigurationError(
            f"the Variable {VARIABLE} must be a JSON list of objects with the key by, such as {_EXAMPLE}"
        )
    return channels


def _notifier(channel: Mapping[str, Any], name: str) -> BaseNotifier:
    """
    Make the notifier of a channel.

    :raises ConfigurationError: there is no such notifier, or it does not accept these parameters.
    """
    path, templates = _CHANNELS.get(channel["by"], (channel["by"], {}))
    given = {key: value for key, value in channel.items() if key != "by"}
    try:
        kind = import_string(path)
    except ImportError:
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise ConfigurationError(
            f"{name}: by must be {', '.join(_CHANNELS)} or the path of a notifier whose provider is installed"
        )
    try:
        return kind(**{**templates, **given})
    except TypeError:
        takes = ", ".join(name for name in signature(kind).parameters if name != "kwargs")
        raise ConfigurationError(
            f"{name}: it has a wrong key, or lacks one; {kind.__name__} takes {takes}"
        ) from None
