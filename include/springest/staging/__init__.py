"""Stages source rows into the ledger: selects and checks rows, and applies the resulting changes.

May import: catalogue, source, documents, privacy, db and below.
"""
