"""The ``fastnn`` command. Its libraries come with ``pip install "fastnn-engine[cli]"``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say which package it lacks."""
    try:
        from .app import app
    except ModuleNotFoundError as e:
        if e.name is None or e.name.startswith("fastnn"):
            raise
        sys.exit(f'fastnn: the command line needs {e.name}: pip install "fastnn-engine[cli]"')
    app()
