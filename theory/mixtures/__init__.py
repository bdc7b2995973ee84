"""Pretraining mixtures of function classes: their Bayes predictors and exact risks [yadlowsky2023pretraining]."""
