"""Engines that re-check derivations: exact arithmetic, ball arithmetic, decision procedures. None knows SymPy."""
