import threading

import IPython  # noqa: F401  (every kernel has it)
import pytest

from companion.runs import watch


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(watch, "_failures", None)
    monkeypatch.setattr(watch, "_threads_before", set())
    monkeypatch.setattr(threading, "excepthook", lambda caught: None)
    monkeypatch.setattr(watch.sys, "unraisablehook", lambda caught: None)
    watch.begin()


def test_the_token_is_printed_when_nothing_failed(watched, capsys):
    watch.end("token")
    assert capsys.readouterr().out == "token\n"


def test_a_thread_that_fails_is_remembered(watched):
    thread = threading.Thread(target=lambda: int("x"))
    thread.start()
    with pytest.raises(RuntimeError, match="ValueError in a thread: invalid literal"):
        watch.end("token")


def test_an_error_that_python_could_not_raise_is_remembered(watched):
    class Fails:
        def __del__(self):
            raise ValueError("late")

    Fails()
    with pytest.raises(RuntimeError, match="ValueError where Python could not raise it: late"):
        watch.end("token")


def test_an_end_without_a_beginning_is_refused(monkeypatch):
    monkeypatch.setattr(watch, "_failures", None)
    with pytest.raises(RuntimeError, match="not watched from its beginning"):
        watch.end("token")
