"""Mesa-optimization, measured: sequences, autoregressive attention, the mesa layer, and what trained models compute."""
