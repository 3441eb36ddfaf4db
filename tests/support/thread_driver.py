"""The hub's loop as real threads in an unpatched process: `selectors` and one lock, the turn.

The loop's thread has the turn while it calls back, work that was spawned has it except while it sleeps or is
outside, and a test takes it (`with driver.turn`) to touch the hub. What a call raised is kept, and `close`
raises it: a fault in the loop fails the test.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tenure.kit import clock

T = TypeVar("T")
_LONGEST_S = 60.0
# A lock is not fair: who gives it away for no time at all would have it again before anybody else.
_LEAST_S = 0.001


class ThreadDriver:
    """See web.live.driver.Driver for what each method promises."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.faults: list[BaseException] = []
        self._selector = selectors.DefaultSelector()
        self._watches: dict[int, list[_Watch]] = {}
        self._timers: list[_Timer] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._ended = threading.Event()
        self._waking, self._wake = socket.socketpair()
        for end in (self._waking, self._wake):
            end.setblocking(False)
        self._threads = [threading.Thread(target=self._run, name="loop")]
        self.readable(self._waking.fileno()).start(self._woken)
        self._threads[0].start()

    def readable(self, descriptor: int) -> _Watch:
        return self._watch(descriptor, selectors.EVENT_READ)

    def writable(self, descriptor: int) -> _Watch:
        return self._watch(descriptor, selectors.EVENT_WRITE)

    def soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)
        self._nudge()

    def every(self, seconds: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer(self._timers, seconds, call, clock.monotonic() + seconds)
        self._timers.append(timer)
        self._nudge()
        return timer

    def spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._in_turn, args=(work,))
        self._threads.append(thread)
        thread.start()

    def spawn_later(self, seconds: float, work: Callable[[], None]) -> None:
        def late() -> None:
            self.sleep(seconds)
            work()

        self.spawn(late)

    def sleep(self, seconds: float) -> None:
        self.outside(lambda: self._ended.wait(max(seconds, _LEAST_S)))

    def outside(self, call: Callable[[], T]) -> T:
        self.turn.release()
        try:
            return call()
        finally:
            self.turn.acquire()

    def close(self) -> None:
        """End the loop when all work has ended. Raises the first thing that a call raised."""
        self._ended.set()
        self._nudge()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads), "some work does not end"
        self._selector.close()
        self._waking.close()
        self._wake.close()
        if self.faults:
            raise self.faults[0]

    # -- the loop ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            found = self._selector.select(self._patience())
            with self.turn:
                for key, readiness in found:
                    for watch in list(key.data):
                        if watch.active and watch.readiness & readiness:
                            self._call(watch.call)
                for timer in list(self._timers):
                    if timer.due <= clock.monotonic():
                        timer.due += timer.seconds
                        self._call(timer.call)
                for _ in range(len(self._soon)):  # what these ask for is the next turn's
                    self._call(self._soon.popleft())

    def _patience(self) -> float:
        if self._soon:
            return 0.0
        due = min((timer.due for timer in self._timers), default=clock.monotonic() + _LONGEST_S)
        return max(0.0, due - clock.monotonic())

    def _in_turn(self, work: Callable[[], None]) -> None:
        with self.turn:
            self._call(work)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the edge of each thread: the test hears of it at the end
            self.faults.append(error)

    def _nudge(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            self._wake.send(b"\x00")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waking.recv(65_536)

    def _watch(self, descriptor: int, readiness: int) -> _Watch:
        watch = _Watch(self, descriptor, readiness)
        self._watches.setdefault(descriptor, []).append(watch)
        return watch

    def arrange(self, descriptor: int) -> None:
        """The selector waits for what the started watches of this descriptor wait for."""
        watches = self._watches.get(descriptor, [])
        wanted = 0
        for watch in watches:
            wanted |= watch.readiness if watch.active else 0
        known = descriptor in self._selector.get_map()
        if wanted and known:
            self._selector.modify(descriptor, wanted, watches)
        elif wanted:
            self._selector.register(descriptor, wanted, watches)
        elif known:
            self._selector.unregister(descriptor)

    def forget(self, watch: _Watch) -> None:
        """Nobody waits for this any more; the descriptor's number may come again."""
        watches = self._watches[watch.descriptor]
        watches.remove(watch)
        if not watches:
            del self._watches[watch.descriptor]


@dataclass(eq=False)
class _Watch:
    driver: ThreadDriver
    descriptor: int
    readiness: int
    active: bool = False
    call: Callable[[], None] = field(default=lambda: None)

    def start(self, call: Callable[[], None], /) -> None:
        self.call, self.active = call, True
        self.driver.arrange(self.descriptor)

    def stop(self) -> None:
        if self.active:
            self.active = False
            self.driver.arrange(self.descriptor)

    def close(self) -> None:
        self.stop()
        self.driver.forget(self)


@dataclass(eq=False)
class _Timer:
    timers: list[_Timer]
    seconds: float
    call: Callable[[], None]
    due: float

    def stop(self) -> None:
        if self in self.timers:
            self.timers.remove(self)


@contextlib.contextmanager
def thread_driver() -> Iterator[ThreadDriver]:
    """A loop that turns for the block's time."""
    made = ThreadDriver()
    try:
        yield made
    finally:
        made.close()
