"""Scan and snap on text: where attention goes first, from counts of words."""
