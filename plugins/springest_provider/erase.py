"""Forget a learner, or let one who was forgotten come back; see docs/operations.md."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# Connections and Variables made in the UI are seen only from Airflow's server context.
os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")

_REF = 64


def main(arguments: Sequence[str]) -> int:
    """
    Erase.

    :returns: 0 when it is done.
    """
    parser = argparse.ArgumentParser(prog="python -m springest_provider.erase", description=__doc__)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--learner-ref", metavar="REF", help="the learner's reference in the warehouse")
    who.add_argument(
        "--address-from-stdin", action="store_true", help="read the learner's address; it is not kept"
    )
    parser.add_argument("--lift", action="store_true", help="the learner has come back")
    parser.add_argument("--conn-id", default="certificate_warehouse", help="connection of the warehouse")
    options = parser.parse_args(arguments)

    from include.springest.errors import SpringestError
    from include.springest.warehouse.erasure import forget, remember
    from springest_provider import parts

    try:
        pseudonyms = parts.pseudonyms()
        address = sys.stdin.readline().strip() if options.address_from_stdin else ""
        ref = pseudonyms.learner_ref(address) if address else str(options.learner_ref or "").strip()
        if len(ref) != _REF or not set(ref) <= set("0123456789abcdef"):
            parser.error("give the 64 hex digits of a learner_ref, or an address on the standard input")
        with parts.warehouse(options.conn_id) as engine:
            if options.lift:
                lifted = remember(engine, pseudonyms, learner_ref=ref)
                sys.stdout.write(
                    "the learner may come back\n" if lifted else "nobody was forgotten under this reference\n"
                )
                return 0
            report = forget(engine, pseudonyms, learner_ref=ref)
    except SpringestError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    told = ", ".join(f"{name} {number}" for name, number in report.cleared.items())
    sys.stdout.write(
        f"forgotten; rows cleared: {told}; {report.stopped} certificates will not be sent\n"
        "Let the source forget the learner as well, and remove old backups when their time has come.\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
