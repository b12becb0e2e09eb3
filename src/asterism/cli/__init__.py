"""The command line.

``app`` puts it together. ``commands_…`` state commands and options (``arguments``: those of several), each by a
parameter's name; ``added`` are those of other distributions. What a command does is imported when it runs:

``cluster``
    ``request`` states its options and is what was typed, ``choosing`` and ``advising`` settle method and number,
    ``settings`` reads ``--set``, ``summary`` tells what came out; ``demo`` is a whole run.
on a run
    ``new_images`` opens other images, ``cutting`` and ``export`` make folders and tables of groups, ``feature_files``
    writes features, ``feature_visualisation`` draws filters; ``recorded`` answers without the network, ``scoring``
    scores.
``methods``
    ``describe`` prints what ``outline`` reads of the sources.

``outputs`` sees that an answer can be written, ``text`` prints, ``errors`` says how a command ends.
"""

from asterism.cli.app import app, main

__all__ = ["app", "main"]
