"""Stages source rows into the ledger: which rows, the checks, and what each row changes.

May import: catalogue, source, documents, privacy, db and below.
"""
