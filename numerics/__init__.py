"""Measuring side: samples prompts, trains layers, measures them; never sees a derivation."""
