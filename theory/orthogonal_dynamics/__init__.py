"""One layer on random orthogonal dynamics: moments, the best step, the best layer, one head."""
