"""A backfill of ``springest_deliver`` beside its nightly run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from demo.airflow_home import AirflowApi

from .plan import Plan
from .world import backfill_day

DELIVER = "springest_deliver"


class Backfills:
    """Makes them one at a time, as Airflow wants it."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api
        self._last: int | None = None
        self.made = 0

    def start(self, plan: Plan) -> None:
        """Start the one of a round: it reads the round's own past day, which may be empty.

        Two strikes of a round may each want one: the first has had its time by then.
        """
        self.end()
        day = backfill_day(plan)
        self._last = self._api.backfill(DELIVER, first=day, last=day)
        self.made += 1

    def end(self) -> None:
        """End the last one, whose runs are through or have had their time."""
        if self._last is not None:
            with already_done():
                self._api.end_backfill(self._last)
            self._last = None


@contextmanager
def already_done() -> Iterator[None]:
    """Let a second try find that the first one was heard, though its answer was not."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
