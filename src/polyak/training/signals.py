"""Ctrl-C and SIGTERM ask for a stop; the loop answers at the next step, with everything saved."""

import signal
import threading

from polyak.errors import Stopped


class Stop:
    """Note a stop signal while in the `with` block; a second Ctrl-C stops at once.

    Outside the main thread no handler can be set, and none is: the caller's own rules hold.

    >>> with Stop() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.signal
    15
    """

    # Windows has no SIGHUP
    _SIGNALS = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
    )

    def __init__(self):
        self.signal: int = 0
        self._before = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self, kept: str) -> None:
        """Stop here and now if a signal was noted.

        Raises:
            Stopped: a signal was noted.
        """
        if self.signal:
            then = "the same command with --resume"
            raise Stopped("stopped", signal=self.signal, kept=kept, then=then)

    def _note(self, number, frame):
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
