"""What is shown while images are decoded: nothing for quick work, a line now and then where there is no terminal."""

import os
import sys

import pytest

from asterism.images import listing
from asterism.images.open import list_source
from asterism.training import progress as module
from asterism.training.progress import ProgressBars, decoding_bar


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("show", "wanted"), [(True, 2), (False, 0)])
def test_lines_are_seldom(clock, capsys, show, wanted):
    with decoding_bar(show) as progress:
        for seconds in range(80):
            clock[0] = float(seconds)
            progress("decoding", seconds, 80)
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("of 80 images") == wanted


def test_files_are_counted_while_they_are_listed(clock, capsys, monkeypatch, tmp_path):
    """Of a million on a slow disk nothing was said for many minutes."""
    monkeypatch.setattr(listing, "TOLD", 2)
    for i in range(5):
        (tmp_path / f"{i}.png").touch()
    told = []
    assert len(list_source(str(tmp_path), lambda *one: told.append(one)).files) == 5
    assert told == [("listing", 2, 0), ("listing", 4, 0), ("listing", 5, 5)]
    for is_terminal, shown in ((False, "listing: 4 images"), (True, "4/?")):
        monkeypatch.setattr(module.Console, "is_terminal", is_terminal)
        clock[0] = 0.0
        with decoding_bar() as progress:
            clock[0] = 40.0
            progress("listing", 4, 0)
        assert shown in capsys.readouterr().err


def test_a_terminal_gets_a_bar(clock, capsys, monkeypatch):
    monkeypatch.setattr(module.Console, "is_terminal", True)
    with decoding_bar() as progress:
        progress("decoding", 1, 9)
        assert capsys.readouterr().err == ""
        clock[0] = 2.0
        progress("looking", 9, 9)
        progress("decoding", 3, 9)
    shown = capsys.readouterr().err
    assert "looking" in shown and "3/9" in shown


def test_a_text_among_the_bars_is_printed_as_it_is_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    text = "auto: network=ConvNet(architecture='small-resnet') [red] of photos/:smile:/[1].png"
    bars = ProgressBars(verbose=1)
    bars.say(text)
    bars.start("a stage of a long name", 2)
    bars.finish("a stage of a long name", 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [text, "a stage of a long name: 2 rounds", "a stage of a long name: done after 2"]


@pytest.mark.parametrize("where", ["a pipe that nobody reads", "/dev/full"])
def test_where_nothing_can_be_shown_the_work_goes_on(clock, monkeypatch, where):
    """``asterism cluster … 2>&1 | head -3`` ended a fit, and sent what its process said later to nowhere."""
    if where == "/dev/full":
        if not os.path.exists(where):
            pytest.skip("the system has no /dev/full")
        handle = os.open(where, os.O_WRONLY)
    else:
        reader, handle = os.pipe()
        os.close(reader)
    stream = os.fdopen(handle, "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    with ProgressBars(verbose=1) as bars, decoding_bar() as progress:
        bars.start("joint", 2)
        bars.say("a line")
        clock[0] = 40.0
        progress("decoding", 3, 9)
        bars.finish("joint", 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), handle)  # what is left in the stream is written when it is closed
