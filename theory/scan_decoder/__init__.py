"""The decoder of scan and snap: its logits without overlap and with equal overlaps, solved."""
