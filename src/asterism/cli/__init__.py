"""The command line: each command in a module of its own, each option a parameter's name."""

from asterism.cli.app import app, main

__all__ = ["app", "main"]
