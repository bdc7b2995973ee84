"""Weights that users bring: safe reading, and the conventions they may be written in."""
