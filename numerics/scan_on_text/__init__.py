"""Scan and snap on text: a made-up corpus, a loader, and layers trained on windows."""
