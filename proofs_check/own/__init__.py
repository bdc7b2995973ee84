"""Claims of one's own: a file of Python states them, and every verb of the command line works on them."""
