"""Trace polynomials: exact algebra of words in matrix symbols, their derivatives and Gaussian means."""
