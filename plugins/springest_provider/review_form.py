"""The form of the morning's review: its text, its fields, and reading the answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow.sdk import Param

from springest.errors import DecisionRefused
from springest.redaction import Redactor, show_unseen
from springest.review.agenda import Agenda, Item
from springest.review.answers import APPROVE, WAIT, WITHOUT_EVIDENCE, DeliveryField, Field, RunField
from springest.review.approvals import LargeRun, SeenRun
from springest.review.audit_text import SHARED_LOGINS
from springest.review.rules import WAIVER_HINT
from springest_provider.ui.links import delivery_url, overview_url

APPLY: Final = "Apply the decisions below"
WAIT_FOR_ALL: Final = "Wait"
WHY: Final = "why"
BY: Final = "by"
_LONGEST: Final = 600
"""Characters of a text from the ledger that a form shows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    The subjects of a form, stored with the waiting task.

    :param deliveries: delivery key, shown version, training and label, by the name of the field.
    :param runs: run, with number and digest of the shown certificates, by the name of the field.
    """

    deliveries: Mapping[str, tuple[str, int, str, str]] = field(default_factory=dict)
    runs: Mapping[str, tuple[str, int, str]] = field(default_factory=dict)

    @property
    def subjects(self) -> frozenset[str]:
        """Delivery keys and runs."""
        keys = (key for key, *_ in self.deliveries.values())
        return frozenset(keys).union(run_id for run_id, *_ in self.runs.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON for Airflow to store."""
        return {
            "deliveries": {name: list(value) for name, value in self.deliveries.items()},
            "runs": {name: list(value) for name, value in self.runs.items()},
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Asked:
        """Return the object that ``as_dict`` stored."""
        deliveries = {
            name: (str(a), int(b), str(c), str(d)) for name, (a, b, c, d) in stored["deliveries"].items()
        }
        return cls(deliveries, {name: (str(a), int(b), str(c)) for name, (a, b, c) in stored["runs"].items()})


@dataclass(frozen=True, slots=True)
class Answered:
    """
    The fields of a form as they were submitted; each value is any JSON.

    :param unknown: fields that the form does not have.
    :param by: name of the person, for a login that several people share.
    """

    deliveries: tuple[DeliveryField, ...]
    runs: tuple[RunField, ...]
    unknown: tuple[Field, ...]
    why: object
    by: object


@dataclass(frozen=True, slots=True)
class Form:
    """
    A form as ``HITLOperator`` shows it.

    :param body: Markdown.
    """

    subject: str
    body: str
    params: Mapping[str, Param]
    asked: Asked


def make_form(agenda: Agenda, *, site: str, refused: Mapping[str, str], redactor: Redactor) -> Form:
    """
    Return the form.

    :param refused: reasons for refusing earlier answers, by delivery key or run.
    """
    writer = _Writer(redactor)
    deliveries = {f"delivery_{number}": item for number, item in enumerate(agenda.items, start=1)}
    runs = {f"run_{number}": run for number, run in enumerate(agenda.runs, start=1)}
    params = {
        **{name: writer.run_field(run) for name, run in runs.items()},
        **{name: writer.delivery_field(item) for name, item in deliveries.items()},
        WHY: Param(
            None,
            type=["null", "string"],
            title="Why",
            description="Needed for every decision but wait, and recorded with it; no e-mail addresses.",
        ),
        BY: Param(
            None,
            type=["null", "string"],
            title="Your name",
            description=f"Needed if several people share your login ({', '.join(sorted(SHARED_LOGINS))}): "
            "without it, every decision is refused and asked again. No e-mail address.",
        ),
    }
    asked = Asked(
        {
            name: (
                item.waiting.delivery_key,
                item.waiting.version,
                item.waiting.training_id,
                writer.label(item),
            )
            for name, item in deliveries.items()
        },
        {name: (run.run_id, run.certificates, run.digest) for name, run in runs.items()},
    )
    lines = [
        *writer.runs(runs, refused),
        *writer.items(deliveries, refused),
        *writer.no_longer_asked(refused, asked.subjects),
        *writer.end(agenda, site),
    ]
    count = len(agenda.items) + agenda.more
    subject = ", ".join(
        part
        for part in (
            f"{len(runs)} large run{'s' if len(runs) > 1 else ''} to approve" if runs else "",
            f"{count} certificate{'s' if count > 1 else ''} to decide" if count else "",
        )
        if part
    )
    return Form(f"Springest {site}: {subject}", "\n".join(lines), params, asked)


def read_form(asked: Asked, given: Mapping[str, Any]) -> Answered:
    """
    Return the answers.

    :param given: fields as they were submitted; a missing one means wait.
    """
    values = {name: _value(value) for name, value in given.items()}
    return Answered(
        tuple(
            DeliveryField(key, f"training {label}", values.pop(name, None), version)
            for name, (key, version, _, label) in asked.deliveries.items()
        ),
        tuple(
            RunField(run_id, f"run {run_id}", values.pop(name, None), SeenRun(certificates, digest))
            for name, (run_id, certificates, digest) in asked.runs.items()
        ),
        why=values.pop(WHY, None),
        by=values.pop(BY, None),
        unknown=tuple(Field(name, f"field {name}", value) for name, value in values.items()),
    )


def read_text(given: object, name: str) -> str:
    """
    Return the text of a field.

    :raises DecisionRefused: it is another type of JSON.
    """
    if given is None:
        return ""
    if not isinstance(given, str):
        raise DecisionRefused(f"the field {name} is not a text")
    return given


def read_refused(conf: object) -> dict[str, str]:
    """Return the reasons for refusing earlier answers, by delivery key or run; skips other JSON types."""
    if not isinstance(conf, Mapping):
        return {}
    return {str(subject): why for subject, why in conf.items() if isinstance(why, str)}


def _value(given: Any) -> Any:
    """Return a field's value, even if the API received a whole parameter."""
    return given["value"] if isinstance(given, Mapping) and "value" in given else given


class _Writer:
    """
    Writes the Markdown, without keys and addresses.

    Texts from the source, Springest or people are put in code spans: elsewhere, Airflow turns anything that
    looks like a URL into a link, even if it is escaped.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def label(self, item: Item) -> str:
        entry = item.waiting
        return self._text(f"{entry.training_id}{f' issue {entry.issue_no}' if entry.issue_no != 1 else ''}")

    def run_field(self, run: LargeRun) -> Param:
        return Param(
            WAIT,
            type="string",
            enum=[WAIT, APPROVE],
            title=f"Run {self._text(run.run_id)}: {run.certificates:,} certificates",
            description="approve: a run of springest_deliver starts at once and sends the certificates. "
            "wait: none of them is sent.",
        )

    def delivery_field(self, item: Item) -> Param:
        return Param(
            WAIT,
            type="string",
            examples=[WAIT, *item.answers],
            title=f"Training {self.label(item)}",
            description=f"{WAIT}, or one of: {', '.join((*item.answers, 'confirm ID'))}. "
            f"Suggestion: {item.suggestion}",
        )

    def runs(self, runs: Mapping[str, LargeRun], refused: Mapping[str, str]) -> Iterator[str]:
        if not runs:
            return
        yield "### Runs that are much larger than usual"
        yield ""
        yield (
            "Nothing of these runs is sent before somebody approves them. Check the source first: a mistake "
            "in the query, or an import that touched every row, looks the same."
        )
        yield ""
        for name, run in runs.items():
            window = "not staged to its end"
            if run.window_start and run.window_end:
                window = f"{run.window_start:%Y-%m-%d %H:%M} to {run.window_end:%Y-%m-%d %H:%M} UTC"
            yield (
                f"- **{name}**: run {self._code(run.run_id)} staged **{run.certificates:,} certificates** "
                f"of {run.certifications:,} certifications; more than {run.usual:,} need approval. "
                f"Window: {window}."
            )
            yield from self._refused(refused.get(run.run_id))
        yield ""

    def items(self, items: Mapping[str, Item], refused: Mapping[str, str]) -> Iterator[str]:
        if not items:
            return
        yield "### Certificates that need a decision"
        yield ""
        for name, item in items.items():
            entry = item.waiting
            reason = entry.review_reason or entry.reason or "-"
            named = self._code(entry.certification_name or f"certification {entry.certification_id}")
            link = f"[{self._code(self.label(item))}]({delivery_url(entry.delivery_key)})"
            yield (
                f"- **{name}**: training {link}, {named}, "
                f"valid from {entry.valid_from or '-'}: **{entry.state}** ({self._code(reason)}), since "
                f"{item.since:%Y-%m-%d %H:%M} UTC"
            )
            yield f"    - Evidence: {self._code(item.evidence or 'none')}"
            if item.missing:
                yield f"    - Before a release: {self._code(item.missing.removesuffix(WAIVER_HINT))}"
            yield f"    - What to do: {item.advice.replace('bin/springest review ', '')}"
            yield f"    - Suggestion: **{item.suggestion}**"
            yield from self._refused(refused.get(entry.delivery_key))
        yield ""

    def end(self, agenda: Agenda, site: str) -> Iterator[str]:
        if agenda.more:
            yield f"{agenda.more:,} more follow once these are decided; [all of them]({overview_url(site)})."
            yield ""
        yield (
            f"**{APPLY}** applies each field that is not *{WAIT}*, by the rules of `bin/springest review`. "
            "*confirm ID*: it is the certificate with that id at Springest. *release*: queue it to "
            f"be sent again. *{WITHOUT_EVIDENCE}*: the same, although Springest is not known to lack it. "
            f"*cancel*: never send it. **{WAIT_FOR_ALL}** changes nothing; what still waits is asked again "
            "the next day."
        )

    def no_longer_asked(self, refused: Mapping[str, str], asked: Collection[str]) -> Iterator[str]:
        left = {subject: why for subject, why in refused.items() if subject not in asked}
        if left:
            yield "### Answers that were refused, about what is not asked here"
            yield ""
            for subject, why in left.items():
                yield f"- {self._code(subject)}: {self._code(why)}"
            yield ""

    def _refused(self, why: str | None) -> Iterator[str]:
        if why:
            yield f"    - **Your answer was refused:** {self._code(why)}"

    def _text(self, text: str) -> str:
        """Return a text from outside for a title, which Airflow shows unchanged: on one line."""
        shown = show_unseen(self._redactor.redact(" ".join(text.split())))
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"

    def _code(self, text: str) -> str:
        """Return such a text as a code span."""
        shown = self._text(text).replace("`", "'") or "-"
        return f"`{shown}`"
