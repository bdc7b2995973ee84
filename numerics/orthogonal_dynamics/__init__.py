"""One layer on random orthogonal dynamics: exact and sampled means, features, trained layers."""
