"""The mesa layer and MesaNet's layer: least squares with forgetting, forwards, backwards and in the limits."""
