"""Which failures are worth another try, and after how long: the last column of the tree in ``errors.py``."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule


def _fail(error: str, reason: str) -> RetryRule:
    return RetryRule(exception=f"springest.errors.{error}", action=RetryAction.FAIL, reason=reason)


def _retry(error: str, minutes: int, reason: str) -> RetryRule:
    return RetryRule(
        exception=f"springest.errors.{error}",
        action=RetryAction.RETRY,
        retry_delay=timedelta(minutes=minutes),
        reason=reason,
    )


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        _fail("ConfigurationError", "a setting must be corrected first"),
        _fail("ConservationBroken", "staging must run again first"),
        _fail("QualityCheckFailed", "a person should look at the rows it names"),
        _fail("PendingVerdictsLost", "the verdicts must be computed again first"),
        _fail("AccessRefused", "Springest does not accept this key"),
        _fail("CopyAhead", "a person should look why the copy has more than the warehouse"),
        _fail("RunTooLarge", "a person should confirm that the run is right"),
        _fail("LedgerBehind", "the ledger has lost attempts that were made"),
        _fail("TooManyUnknown", "a person should look before more is sent"),
        _fail("Unauthorized", "Springest does not know this key"),
        _fail("Forbidden", "the key lacks the permission"),
        _fail("NotFound", "the host or the path must be corrected"),
        _retry("Throttled", 10, "Springest asks for fewer requests"),
        _retry("WorkerStopped", 1, "the worker was stopped"),
        _retry("SpringestUnreachable", 15, "Springest does not respond"),
        _retry("DocumentsUnreachable", 10, "the documents cannot be read"),
        _retry("ApiError", 5, "Springest did not respond as it should"),
        _retry(
            "SchemaOutOfDate",
            10,
            "a new version may be on its way: run `bin/springest migrate`, or deploy the code",
        ),
        _retry("SettingsUnreachable", 5, "the secrets backend does not respond"),
        _retry("WarehouseLocked", 5, "another session holds a lock"),
        _retry("DryRunGaveWay", 5, "a run that stages or sends takes precedence"),
        _retry("CopyFailed", 5, "the copy's warehouse does not respond"),
        _retry("SourceError", 5, "the source does not respond"),
        _retry("DocumentStoreUnreachable", 5, "the documents cannot be read"),
    ]
)
"""For every task of this project; the first matching rule counts. Other errors follow the task's settings."""
