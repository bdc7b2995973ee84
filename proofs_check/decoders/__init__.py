"""Claims about decoders trained on mixtures, each beside its Bayes predictor; verdicts on those of users."""
