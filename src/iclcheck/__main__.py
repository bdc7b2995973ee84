"""`python -m iclcheck` is the command `iclcheck`."""

from .proofs_check.command_line import main

if __name__ == "__main__":
    raise SystemExit(main())
