"""Copies what analysts read of a site to another warehouse, and proves that the copy equals it."""
