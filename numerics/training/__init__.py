"""Training of many configurations at once, each on its own stream of random numbers."""
