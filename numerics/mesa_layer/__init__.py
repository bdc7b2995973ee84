"""The mesa layer: plain forms, the chunkwise form, conjugate gradients, the module, and bounds on their rounding."""
