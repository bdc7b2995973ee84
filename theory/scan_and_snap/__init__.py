"""Scan and snap: how cross-entropy moves the decoder and the attention of one softmax layer."""
