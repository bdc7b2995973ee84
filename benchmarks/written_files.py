"""The files that a benchmark writes, only if asked: numbers as JSON, and pictures, which alone need matplotlib."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path


def add_numbers_and_pictures(parser: argparse.ArgumentParser) -> None:
    """--output FILE and --pictures FOLDER."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers to this JSON file")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw into this folder; needs matplotlib")


def asked_for(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, pictures: str = "pictures"
) -> argparse.Namespace:
    """The options. Pictures (by the name of their option) without matplotlib are refused before anything runs."""
    asked = parser.parse_args(arguments)
    if getattr(asked, pictures) and importlib.util.find_spec("matplotlib") is None:
        parser.error(f"--{pictures} needs matplotlib, which is not installed; install it, or leave --{pictures} out")
    return asked
