"""Copy what analysts read to another warehouse, for each site whose list entry has ``copy_to``."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, Param

from springest_provider.defaults import dag_of
from springest_provider.operators.copy import SpringestCopyOperator
from springest_provider.sites import sites

DOC = """
### Springest: copy

Makes `certificate_reconciliation` and its history in another warehouse equal to what the site has published,
after each run of `springest_reconcile`. Only rows that differ are written, all of them at once: readers see
all changes of a copy or none.

*If it fails:* the copy stays as it was. Clearing the task is always safe. `CopyAhead` means that the copy has
rows that the warehouse lacks, as after a restored backup; `remove_extra` removes them.
"""

for site in sites():
    if site.copy_to is None:
        continue
    with DAG(
        **dag_of(site, "springest_copy"),
        description="Copy what analysts read to another warehouse",
        doc_md=DOC,
        schedule=[Asset(site.named("springest_reconciliations"))],
        params={
            "compare_values": Param(
                False,
                type="boolean",
                title="Compare every value",
                description="Reads the whole copy, not only the hashes in it, and repairs what differs.",
            ),
            "remove_extra": Param(
                False,
                type="boolean",
                title="Remove rows that the warehouse lacks",
                description="Once the warehouse is right after it was restored from a backup.",
            ),
        },
    ):
        SpringestCopyOperator(
            task_id="copy",
            copy_conn_id=site.copy_to,
            dataset=site.copy_dataset,
            outlets=[Asset(site.named("springest_copies"))],
        )
