"""The command line: one verb a file, no logic; `main` is the command `torchweld`."""

from torchweld.cli.app import main

__all__ = ["main"]
