"""Joins the two sides: brings a derivation's prediction and a measurement to one verdict."""
