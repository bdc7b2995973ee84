"""Exact risks of predictors at every prefix of a prompt, in their own distribution and outside of it."""
