import io
import sys
import types

import pytest
import tqdm.notebook

from jaxdl.training import callbacks as cb


def test_it_shows_steps_loss_and_validation_loss(told, capsys):
    told([cb.ProgressBar(True)], first=10, last=30)
    shown = capsys.readouterr().err
    assert "10/30 [" in shown
    assert "20/30 [" in shown
    assert "loss 19, validation loss 19.5" in shown
    assert shown.split("\r")[-1].strip() == "", "it is taken away at the end"


def test_means_over_members(told, capsys):
    told([cb.ProgressBar(True)], last=20, members=3)
    assert "loss 10, validation loss 10.5" in capsys.readouterr().err


@pytest.mark.parametrize("progress", [None, False])
def test_it_is_silent_where_nobody_looks(told, capsys, progress):
    told([cb.ProgressBar(progress)])
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_it_unless_told_otherwise(told, monkeypatch):
    for progress, expected in ((None, True), (False, False)):
        monkeypatch.setattr(sys, "stderr", Terminal())
        told([cb.ProgressBar(progress)])
        assert ("/30 [" in sys.stderr.getvalue()) == expected


def test_without_stderr(told, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    told([cb.ProgressBar(None)])


@pytest.fixture
def notebook(monkeypatch):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    return shell


def test_a_notebook_without_widgets_shows_text(told, notebook, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    told([cb.ProgressBar()])
    assert "loss 29, validation loss 29.5" in capsys.readouterr().err


def test_a_notebook_with_widgets_has_one(told, notebook, capsys, monkeypatch):
    made = []

    class Widget:
        def __init__(self, **options):
            self.calls = [options]
            made.append(self)

        def update(self, length):
            self.calls.append(length)

        def set_postfix_str(self, text, refresh):
            self.text = text

        def close(self):
            self.calls.append("closed")

    monkeypatch.setattr(tqdm.notebook, "tqdm", Widget)
    module = types.ModuleType("ipywidgets")
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ipywidgets", module)
    told([cb.ProgressBar(description="width 32")], last=20)
    (widget,) = made
    options = dict(total=20, initial=0, unit="step", desc="width 32", leave=False)
    assert widget.calls == [options, 10, 10, "closed"]
    assert widget.text == "loss 19, validation loss 19.5"
    assert capsys.readouterr().err == ""


def test_a_plain_interpreter_of_ipython_is_no_notebook(told, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: object()))
    told([cb.ProgressBar()])
    assert capsys.readouterr().err == ""


def test_a_name_for_progress():
    with pytest.raises(ValueError, match="progress: expected True, False or None; got 'yes'"):
        cb.ProgressBar("yes")
