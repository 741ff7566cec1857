"""Reads completed trainings from the source database and checks each row against the contract.

May import: db.engines, identity, redaction, errors.
"""
