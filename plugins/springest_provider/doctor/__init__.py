"""Checks of an installation: each says ``ok`` or the remedy, and none hides another."""
