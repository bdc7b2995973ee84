"""Statements as papers print them, where they fail, and what is right in their place."""
