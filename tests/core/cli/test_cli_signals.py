"""One, two and three signals."""

import signal
import subprocess
import sys

import pytest

from streamweaver.cli.signals import Stopper, handled


class EndedError(BaseException):
    """Stands for the end of the process."""


def stopper() -> tuple[Stopper, list[str]]:
    said: list[str] = []

    def end():
        said.append("end")
        raise EndedError

    return Stopper(lambda: said.append("drain"), lambda: said.append("abort"), end), said


def test_each_signal_is_a_step() -> None:
    """First drain, then abort, then the end."""
    stop, said = stopper()
    stop.asked()
    stop.asked()
    with pytest.raises(EndedError):
        stop.asked()
    stop.done()
    assert said == ["drain", "abort", "end"]


def test_an_abort_that_takes_too_long_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog ends what cannot end itself."""
    import threading

    monkeypatch.setattr("streamweaver.cli.signals.ABORT_SECONDS", 0.0)
    ended = threading.Event()
    stop = Stopper(lambda: None, lambda: None, ended.set)  # type: ignore[arg-type]
    stop.asked()
    stop.asked()
    assert ended.wait(30)


def test_a_run_that_ends_in_time_calls_the_watchdog_off() -> None:
    """Nothing ends the process afterwards."""
    stop, said = stopper()
    stop.asked()
    stop.asked()
    stop.done()
    assert stop._watchdog is not None
    stop._watchdog.join(30)
    assert said == ["drain", "abort"]


def test_handlers_are_given_back() -> None:
    """Within the block signals go to the stopper, and where they went before afterwards."""
    stop, said = stopper()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with handled(stop):
        signal.raise_signal(signal.SIGTERM)
        assert said == ["drain"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


STALLED = """
import sys
from streamweaver.cli.signals import impatient
with impatient(7, {seconds}):
    print("ready", file=sys.stderr, flush=True)
    while True:
        print("x" * 10_000, flush=True)
"""


@pytest.mark.parametrize("seconds", [None, 0.2])
def test_results_that_nobody_reads_keep_nobody_waiting(seconds: float | None) -> None:
    """A signal ends the process while it prints to a stalled pipe; after an abort it does not even take that."""
    with subprocess.Popen(
        [sys.executable, "-c", STALLED.format(seconds=seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"ready\n"
        if seconds is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 7
