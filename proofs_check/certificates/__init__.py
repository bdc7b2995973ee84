"""Certificates of derivations: statements as plain data, with evidence that an engine outside SymPy can renew."""
