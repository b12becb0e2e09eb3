"""The command line: ``commands_…`` state commands and options (``arguments``: those of several), each by a parameter's
name; what a command does lies in modules that are imported when it runs. ``errors`` says how a command ends.
"""

from asterism.cli.app import app, main

__all__ = ["app", "main"]
