"""Trained autoregressive attention taken apart: compressed algorithms, probes, steps, copies."""
