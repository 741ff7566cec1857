"""Keeps learners who were forgotten from coming back with a row of the source."""

from __future__ import annotations

from dataclasses import replace

from springest.identity import ERASED_VERSION
from springest.privacy.erasure import DETAIL, REASON, Forgotten
from springest.source.contract import CompletedTraining, Defect


def without_erased(training: CompletedTraining, forgotten: Forgotten) -> CompletedTraining:
    """Return the training, or what may be known of it when its learner was forgotten: nothing to send."""
    if not forgotten.covers_address(training.email):
        return training
    return replace(
        training,
        booking_id=None,
        email=None,
        certificate_uri=None,
        learner_ref=None,
        document_ref=None,
        row_version=ERASED_VERSION,
        defects=(Defect(REASON, DETAIL),),
    )
