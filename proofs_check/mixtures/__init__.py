"""Claims about pretraining mixtures: their Bayes predictors, and exact risks of what needs no training."""
