"""Claims about pretraining mixtures and the decoders trained on them."""
