"""The command `iclcheck`."""
