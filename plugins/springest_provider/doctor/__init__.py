"""Checks of an installation: each reports ``ok`` or the remedy, and none hides another."""
