"""Predictors of whole prompts that are asked, never opened: their effective weights, and distances to known ones."""
