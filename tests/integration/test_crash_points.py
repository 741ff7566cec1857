"""The process dies at every boundary there is, one after the other, and what follows is always the same.

A child process sends; at its Nth boundary (a statement before and after its commit, the connection, a piece
of the body, the answer) it is gone without a word. Its successor may then do what it likes: no certificate is
posted twice, none is lost, and the ledger can explain each.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os

import pytest

from include.sandbox.faults import Fault, Kind
from include.springest.api.body import CertificateBody
from include.springest.api.client import SpringestClient
from include.springest.ledger.sending import SendingLedger
from include.springest.limiter import RateLimiter

GONE = 9
MOST_BOUNDARIES = 60


class Boundaries:
    """Counts boundaries, and ends the process at the chosen one."""

    def __init__(self, last: int) -> None:
        self._left = last

    def cross(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(GONE)

    def around(self, owner: type, name: str) -> None:
        """Make a boundary before and after a coroutine method."""
        inner = getattr(owner, name)

        async def crossing(*args, **kwargs):
            self.cross()
            result = await inner(*args, **kwargs)
            self.cross()
            return result

        setattr(owner, name, crossing)


def _send_and_die(world, last):
    """In a child process: deliver, until the chosen boundary."""
    world.warehouse.dispose(close=False)
    world.source.dispose(close=False)
    boundaries = Boundaries(last)
    for owner, name in (
        (SendingLedger, "sweep"),
        (SendingLedger, "queue"),
        (RateLimiter, "acquire"),
        (SendingLedger, "claim"),
        (SpringestClient, "post_certificate"),
        (CertificateBody, "_send"),
        (SendingLedger, "record"),
    ):
        boundaries.around(owner, name)
    world.deliver("night", concurrency=1)
    os._exit(0)


def _dies_at(world, last):
    child = multiprocessing.get_context("fork").Process(target=_send_and_die, args=(world, last))
    child.start()
    child.join(60)
    assert child.exitcode in {0, GONE}
    return child.exitcode == GONE


def _leases_run_out(world):
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE springest.delivery SET lease_until = now() - interval '1 s' WHERE state = 'sending'"
        )


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (None, "retry"),
        (Kind.CLOSE_BEFORE_STORING, "retry"),
        (Kind.CLOSE_AFTER_STORING, "another run"),
        (Kind.STORE_LATE, "staged again"),
    ],
    ids=["answers", "does not store", "stores without an answer", "stores late"],
)
def test_dying_anywhere_doubles_nothing_and_loses_nothing(world, fault, after):
    """At every boundary, whatever the server did with it, and whatever is run afterwards."""
    world.catalogue()
    expected = 0
    for last in itertools.count(1):
        assert last < MOST_BOUNDARIES, "the boundaries never end"
        training = world.training()
        world.complete(training)
        world.stage("night")
        world.stage(f"night-{last}")
        expected += 1
        if fault is not None:
            world.sandbox.state.faults.add(Fault(fault))
        died = _dies_at(world, last)
        _leases_run_out(world)
        world.sandbox.state.faults.clear()
        if after == "staged again":
            world.stage(f"again-{last}")
        world.deliver("night" if after == "retry" else f"after-{last}", max_unknown=1_000)
        world.sandbox.store.release()
        stored = [one for one in world.sandbox.store.certificates() if one.email == training.learner.email]
        state, reason = world.states()[training.training_id]
        attempts = world.rows(
            "SELECT outcome FROM springest.delivery_attempt JOIN springest.delivery USING (delivery_key)"
            " WHERE training_id = :training_id ORDER BY attempt_id",
            training_id=training.training_id,
        )
        assert len(stored) <= 1, f"doubled when it died at boundary {last}"
        assert state in {"accepted", "unknown"}, f"lost when it died at boundary {last}: {state} {reason}"
        assert (state == "accepted") == (attempts[-1] == ("accepted_with_id",))
        assert state == "unknown" or len(stored) == 1
        assert sum(outcome != "not_taken" for (outcome,) in attempts) == 1
        if not died:
            break
    assert last > 12, "there should be more boundaries than that"
    assert len(world.states()) == expected
