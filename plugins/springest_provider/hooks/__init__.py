"""Hooks: Springest's API and the warehouse."""
