"""Messages by Airflow's own notifiers to real servers on loopback: mail, Slack's webhook, any webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from demo.ports import free_port
from springest.errors import ConfigurationError
from springest_provider.notifications.channels import NotificationFailed, send
from springest_provider.notifications.message import Item, Message, Section

MESSAGE = Message(
    "Springest (default): 3 sent, 1 needs a person",
    [Section("Needs a person", [Item("T1 & <T2> is unknown", "https://airflow.example/springest")])],
)


@dataclass
class Mails:
    """A mail server that keeps what it gets."""

    received: list[Any] = field(default_factory=list)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.received.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mails]:
    """A mail server, and the connection to it."""
    handler = Mails()
    port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield handler
    controller.stop()


@dataclass
class Hooks:
    """A web server that keeps what is posted to it."""

    url: str
    status: int = 200
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """A web server, and the connections of Slack and of a webhook to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hooks.received.append((self.path, json.loads(body)))
            self.send_response(hooks.status)
            self.end_headers()
            self.wfile.write(b"ok" if hooks.status == 200 else f"Cannot POST {self.path}".encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hooks = Hooks(f"http://127.0.0.1:{server.server_address[1]}")
    slack = {"conn_type": "slackwebhook", "host": f"{hooks.url}/services", "password": "T0/B0/secret-token"}
    webhook = {"conn_type": "http", "host": hooks.url}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(slack))
    monkeypatch.setenv("AIRFLOW_CONN_HTTP_DEFAULT", json.dumps(webhook))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield hooks
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch):
    """Set the Variable."""

    def set_variable(*value: object) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_NOTIFICATIONS", json.dumps(value))

    return set_variable


SLACK = {"by": "slack", "slack_webhook_conn_id": "slack_default"}
WEBHOOK = {"by": "webhook", "http_conn_id": "http_default", "endpoint": "hooks/springest"}
EMAIL = {"by": "email", "to": ["ops@example.com", "ana@example.com"], "smtp_conn_id": "smtp_default"}


def test_a_message_reaches_each_channel_in_its_own_form(channels, mails, hooks):
    """One mail to all, and one POST each."""
    channels(EMAIL, SLACK, WEBHOOK)
    send(MESSAGE, {})
    [(recipients, mail)] = mails.received
    assert set(recipients) == {"ops@example.com", "ana@example.com"}
    assert mail["Subject"] == "Springest (default): 3 sent, 1 needs a person"
    assert "T1 &amp; &lt;T2&gt; is unknown" in mail.get_body(("html",)).get_content()
    (slack_path, slack), (webhook_path, webhook) = hooks.received
    assert slack_path == "/services/T0/B0/secret-token"
    assert "• T1 &amp; &lt;T2&gt; is unknown <https://airflow.example/springest>" in slack["text"]
    assert webhook_path == "/hooks/springest"
    assert webhook == {"subject": MESSAGE.title, "text": MESSAGE.text}
    assert "- T1 & <T2> is unknown https://airflow.example/springest" in webhook["text"]


def test_templates_of_a_message_are_not_rendered(channels, hooks):
    """A certification called `{{ … }}` is a name."""
    channels(WEBHOOK)
    send(Message("Springest: {{ 6 * 7 }} {{ conn.http_default.host }}"), {})
    [(_, body)] = hooks.received
    assert body["subject"] == "Springest: {{ 6 * 7 }} {{ conn.http_default.host }}"


def test_any_other_notifier_is_named_by_its_path(channels, hooks):
    """A notifier that an installation already has."""
    path = "airflow.providers.http.notifications.http.HttpNotifier"
    channels({"by": path, "http_conn_id": "http_default", "json": {"event": "{{ springest.title }}"}})
    send(MESSAGE, {})
    assert hooks.received == [("/", {"event": MESSAGE.title})]


def test_a_channel_that_fails_keeps_no_other_from_getting_it(channels, mails, hooks, caplog):
    """The error names the channel and the kind, and not the URL, which is a webhook's secret."""
    channels(SLACK, EMAIL)
    hooks.status = 500
    with pytest.raises(
        NotificationFailed, match=r"channel 1 \(slack\) failed: \w+; look at its connection"
    ) as failed:
        send(MESSAGE, {})
    assert len(mails.received) == 1
    assert "secret-token" not in f"{failed.value} {caplog.text}"


SECRETS = ("https://hooks.example.com/T0/B0/canary", "T0/B0/canary", "canary@example.com", "canary")


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_of_a_channel_is_in_an_error_or_a_log(channels, hooks, mails, caplog, capfd, secret):
    """A URL or an address that stands in the wrong place, and one that the server repeats."""
    caplog.set_level("INFO")
    hooks.status = 404
    channels(
        {"by": secret},
        {"by": f"{secret}.Notifier"},
        {**EMAIL, secret: 1},
        {**WEBHOOK, "endpoint": secret},
        {**WEBHOOK, "method": secret},
        {"by": "slack", "slack_webhook_conn_id": secret},
    )
    with pytest.raises(NotificationFailed) as failed:
        send(MESSAGE, {})
    assert failed.value.__cause__ is None
    assert str(failed.value).count("channel") == 6
    printed = "".join(capfd.readouterr())  # Airflow's hooks log there
    assert "canary" not in f"{failed.value} {caplog.text} {printed}"
    [(path, _)] = hooks.received
    assert "canary" in path


def test_without_the_variable_a_message_is_in_the_log_alone(caplog, monkeypatch):
    """A site needs no channel."""
    monkeypatch.setattr("springest_provider.lookups.WAITS_SECONDS", (0, 0))
    caplog.set_level("INFO")
    send(MESSAGE, {})
    assert MESSAGE.title in caplog.messages
    assert "- T1 & <T2> is unknown https://airflow.example/springest" in caplog.messages


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"by": "pigeon"}, "channel 1: by must be email, slack, webhook or the path of a notifier"),
        (
            {"by": "email", "too": "a"},
            "channel 1 (email): it has a wrong key, or lacks one; SmtpNotifier takes ",
        ),
        ({"by": "json.JSONDecoder"}, "channel 1: by must be"),
        ({"by": "json.loads"}, "channel 1: by must be"),
    ],
)
def test_a_channel_that_is_set_wrongly_says_how(channels, value, text):
    """The name, the key, or what may stand there."""
    channels(value)
    with pytest.raises(NotificationFailed, match="springest_notifications") as failed:
        send(MESSAGE, {})
    assert text in str(failed.value)


@pytest.mark.parametrize("value", ['{"by": "email"}', "[", '["email"]', '[{"to": "a"}]'])
def test_a_variable_that_is_no_list_of_channels_is_refused(monkeypatch, value):
    """With an example of what it should be."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_NOTIFICATIONS", value)
    with pytest.raises(ConfigurationError, match="must be a JSON list of objects with the key by, such as"):
        send(MESSAGE, {})
