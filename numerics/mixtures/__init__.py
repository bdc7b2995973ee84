"""Prompts of mixtures of function classes, their Bayes predictors and baselines, in torch and NumPy."""
