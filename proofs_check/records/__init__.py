"""Records: raw measurements apart from the verdict, in an append-only store."""
