"""
Shows what is wrong with the list of sites as an import error in Airflow's UI. It makes no DAG.

Airflow stops scheduling all DAGs of a file that has an import error. So the files that make the DAGs skip a
site whose entry is not usable, and this one reports it.
"""

from __future__ import annotations

from springest_provider.sites import load_sites

load_sites().require_usable()
