"""Matches deliveries with the certificates in snapshots: by proof, else by inference, else not at all.

May import: snapshot, db and below.
"""
