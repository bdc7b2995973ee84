"""Mesa-optimization: what causal attention computes on sequences that follow a linear law."""
