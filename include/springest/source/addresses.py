"""Looks up learners' e-mail addresses in the source when they are needed; they are never stored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from springest.errors import SourceError
from springest.identity import Pseudonyms
from springest.source.contract import read_row
from springest.source.several import TrainingSource
from springest.source.values import WITHOUT_TRAINING_ID

log = logging.getLogger(__name__)


def addresses_from(
    reader: TrainingSource, *, site: str, pseudonyms: Pseudonyms
) -> Callable[[Sequence[tuple[str, str, str]]], Mapping[str, str]]:
    """Return a function that looks up e-mail addresses by delivery.

    It takes (delivery key, training, learner reference) and omits learners whose address has changed. If the
    source fails, it returns nothing and logs a warning, since the look-up is optional.
    """

    def look_up(wanted: Sequence[tuple[str, str, str]]) -> dict[str, str]:
        references = {key: reference for key, _, reference in wanted}
        names = sorted({name for _, name, _ in wanted if not name.startswith(WITHOUT_TRAINING_ID)})
        try:
            rows = reader.look_up(names)
        except SourceError as error:
            log.warning("Can't look up e-mail addresses: %s", error)
            return {}
        trainings = (read_row(row, site=site, pseudonyms=pseudonyms) for row in rows)
        return {
            training.delivery_key: training.email
            for training in trainings
            if training.email and references.get(training.delivery_key) == training.learner_ref
        }

    return look_up
