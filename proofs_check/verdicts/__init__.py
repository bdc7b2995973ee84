"""Decision rules with proved error rates."""
