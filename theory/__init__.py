"""Symbolic side: closed forms from the layer, the data law and the loss; never sees a trained weight."""
