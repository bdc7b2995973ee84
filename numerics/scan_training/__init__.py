"""Scan and snap, trained: descent on sampled sequences, in (Y, Z) and with embeddings, exact means over counts."""
