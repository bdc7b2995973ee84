"""The verification appendix, written from records."""
