"""Keeps source rows from restoring an erased learner."""

from __future__ import annotations

from dataclasses import replace

from springest.identity import ERASED_VERSION
from springest.privacy.erasure import DETAIL, REASON, ErasedLearners
from springest.source.contract import CompletedTraining, Defect


def without_erased(training: CompletedTraining, erased: ErasedLearners) -> CompletedTraining:
    """Return the training; without personal data, and invalid, if its learner was erased."""
    if not erased.covers_address(training.email):
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
