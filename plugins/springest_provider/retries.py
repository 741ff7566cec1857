"""Which failures are worth another try, and after how long."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

_ERRORS = "springest.errors"
_CANDIDATES = "springest.verdicts.pending"
_STOPS = "springest.delivery.stops"


def _give_up(path: str, reason: str) -> RetryRule:
    return RetryRule(exception=path, action=RetryAction.FAIL, reason=reason)


def _again(path: str, minutes: int, reason: str) -> RetryRule:
    return RetryRule(
        exception=path, action=RetryAction.RETRY, retry_delay=timedelta(minutes=minutes), reason=reason
    )


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        _give_up(f"{_ERRORS}.ConfigurationError", "a setting must be corrected first"),
        _give_up("springest.db.migrate.SchemaOutOfDate", "run `make migrate` first"),
        _give_up(f"{_CANDIDATES}.ConservationBroken", "staging must be run again first"),
        _give_up(f"{_CANDIDATES}.QualityCheckFailed", "a person should look at the rows it names"),
        _give_up(f"{_CANDIDATES}.CandidatesLost", "the verdicts must be worked out again first"),
        _give_up(f"{_STOPS}.AccessRefused", "Springest does not let this key in"),
        _give_up(f"{_STOPS}.NightTooLarge", "a person should say that the night is right"),
        _give_up(f"{_STOPS}.LedgerBehind", "the ledger has forgotten what was sent"),
        _give_up(f"{_STOPS}.TooManyUnknown", "a person should look before more is sent"),
        _give_up(f"{_ERRORS}.Unauthorised", "Springest does not know this key"),
        _give_up(f"{_ERRORS}.Forbidden", "the key has no right to this"),
        _give_up(f"{_ERRORS}.NotFound", "the host or the path must be corrected"),
        _again(f"{_ERRORS}.Throttled", 10, "Springest asks for fewer requests"),
        _again(f"{_STOPS}.WorkerStopped", 1, "the worker was stopped, not the work"),
        _again(f"{_STOPS}.SpringestUnreachable", 15, "Springest does not answer"),
        _again(f"{_STOPS}.DocumentsUnreachable", 10, "the documents can't be read"),
        _again(f"{_ERRORS}.ApiError", 5, "Springest did not answer as it should"),
        _again("springest.db.locks.WarehouseLocked", 5, "another session holds a lock"),
        _again("springest.source.refusal.SourceError", 5, "the source does not answer"),
        _again("springest.documents.errors.DocumentStoreUnreachable", 5, "the documents can't be read"),
    ]
)
"""For every task of this project. What it does not name is retried as the task says."""
