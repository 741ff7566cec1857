"""``springest erase``: erase a learner, or lift an erasure; see docs/operations.md."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from springest.privacy.erasure import erase_learner, lift_erasure
from springest_provider import factories
from springest_provider.cli.output import Exit, Output

_REF: Final = 64
_NOBODY_ERASED: Final = "no learner with this address or reference was erased: nothing was changed"
_NOBODY_FOUND: Final = (
    "no learner has this address or reference: nothing was erased or recorded. Check it for typing errors. "
    "If the learner's address changed in the source, use the reference that `bin/springest who` shows. If "
    "the address is right and its trainings are still to come, add --in-advance"
)


def erase(options: argparse.Namespace, output: Output) -> int:
    """Erase, or lift an earlier erasure."""
    pseudonyms = factories.pseudonyms()
    address = sys.stdin.readline().strip() if options.address_from_stdin else ""
    ref = pseudonyms.learner_ref(address) if address else str(options.learner_ref or "").strip()
    if len(ref) != _REF or not set(ref) <= set("0123456789abcdef"):
        output.error("pass the 64 hex digits of a learner_ref, or an e-mail address on standard input")
        return Exit.USAGE
    tombstones = pseudonyms.tombstones(address) if address else frozenset()
    with factories.warehouse(options.warehouse) as engine:
        if options.lift:
            lifted = lift_erasure(engine, pseudonyms, learner_ref=ref, tombstones=tombstones)
            output.line("the erasure is lifted" if lifted else _NOBODY_ERASED)
            return Exit.DONE if lifted else Exit.NOTHING
        report = erase_learner(
            engine, pseudonyms, learner_ref=ref, tombstones=tombstones, in_advance=options.in_advance
        )
    if not report.found and options.in_advance:
        output.line(
            "no learner has this address or reference yet; it is recorded, and nothing is ever sent to it"
        )
        return Exit.DONE
    if not report.found:
        output.line(_NOBODY_FOUND)
        return Exit.NOTHING
    cleared = ", ".join(f"{name} {number}" for name, number in report.cleared.items())
    output.line(f"erased; rows cleared: {cleared}; {report.stopped} certificates will not be sent")
    output.line(
        "Remove the learner from the source as well, and delete old backups at the end of their retention."
    )
    return Exit.DONE
