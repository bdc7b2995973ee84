"""Measurements of what printed statements speak about."""
