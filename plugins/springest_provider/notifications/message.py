"""One message in the forms that e-mail, Slack and a webhook take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from springest.redaction import Redactor, show_unseen


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a section.

    :param url: page that shows more; empty for none.
    """

    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its lines."""

    heading: str
    items: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Message:
    """A subject and sections; every form is free of addresses, keys and control characters."""

    subject: str
    sections: Sequence[Section] = ()

    @property
    def title(self) -> str:
        """The subject, on one line."""
        return _clean(self.subject)

    @property
    def text(self) -> str:
        """Plain text."""
        return "\n".join(self._lines(lambda text: text, _plain_link, heading="{}", item="- {}"))

    @property
    def html(self) -> str:
        """HTML, for e-mail."""
        return "\n".join(self._lines(escape, _html_link, heading="<h3>{}</h3>", item="<p>{}</p>"))

    @property
    def slack(self) -> str:
        """Slack's mrkdwn, escaped as Slack asks: no text in it mentions a person or a channel."""
        return "\n".join(self._lines(_slack, _slack_link, heading="*{}*", item="• {}"))

    def _lines(
        self,
        escaped: Callable[[str], str],
        linked: Callable[[str], str],
        *,
        heading: str,
        item: str,
    ) -> Iterator[str]:
        yield heading.format(escaped(self.title))
        for section in self.sections:
            yield heading.format(escaped(_clean(section.heading)))
            for entry in section.items:
                link = f" {linked(entry.url)}" if entry.url else ""
                yield item.format(f"{escaped(_clean(entry.text))}{link}")


def _clean(text: str) -> str:
    return show_unseen(Redactor().redact(" ".join(text.split())))


def _plain_link(url: str) -> str:
    return url


def _html_link(url: str) -> str:
    return f'<a href="{escape(url)}">{escape(url)}</a>'


def _slack(text: str) -> str:
    return escape(text, quote=False)


def _slack_link(url: str) -> str:
    return f"<{_slack(url)}>"
