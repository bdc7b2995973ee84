"""The decoder of scan and snap, measured: its logits by descent and by flow, without and with overlaps."""
