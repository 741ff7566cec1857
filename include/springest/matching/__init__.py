"""Matches deliveries with the certificates in snapshots: by proof, or without it by inference.

May import: snapshot, db and below.
"""
