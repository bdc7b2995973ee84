"""Decoders in the manner of GPT-2 for real-valued prompts, and their training."""
