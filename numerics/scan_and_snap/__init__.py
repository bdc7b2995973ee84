"""Scan and snap, measured: sequence classes, the layer with its decoder, its flows, trained models and text."""
