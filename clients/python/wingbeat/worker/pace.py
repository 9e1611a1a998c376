"""How quick the tasks of a worker are, and what follows: how many it takes ahead, and how many line up in a child.

A process that has just run a task of the same code runs the next one in half the time that one needs whose memory the
processors have meanwhile forgotten. So tasks that take a few milliseconds, all of them of a processor, do not go to as
many children as there are slots, but line up in a few.
"""

AHEAD_PER_SLOT_MAX = 16
AHEAD_S = 0.1
"""Attempts may wait in a worker for so much work of each slot, so that none idles until an engine hears of it, ..."""
QUICK_S = 0.05
"""... while tasks take no longer than this on average."""
LONG_S = 0.1
"""Nothing shall wait in a worker behind a task that takes longer."""

LINES_PER_PROCESSOR = 2
"""In how many children of one code others line up. With one for each, tasks would get too small a share of the
processors, which they have in common with the other processes of an installation."""
LINE_MAX = 8
LINE_CPU_S = 0.01
"""Tasks line up in a child for so much work, ..."""
WAITS_MAX = 0.5
"""... while they wait for something less often than this: tasks that wait can run side by side."""
STALL_S = 0.02
"""Nothing shall stay in line behind a task that takes longer; much longer than a line, since processors are shared."""
_MEMORY = 8
"""Averages are of about as many tasks."""


class Pace:
    """See the module. `ahead` attempts may wait beyond the slots; a child is given `line` tasks at once, of which it
    runs the first."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._usual_s = LONG_S
        self._usual_cpu_s = LONG_S
        self._usual_waits = 1.0
        self.ahead = 0
        self.line = 1

    def learn(self, took_s: float, cpu_s: float, waits: int) -> None:
        """From a task that has ended; `waits` is how often it waited for something."""
        if took_s > LONG_S:
            self.slow_down()
            return
        self._usual_s += (took_s - self._usual_s) / _MEMORY
        self._usual_cpu_s += (cpu_s - self._usual_cpu_s) / _MEMORY
        self._usual_waits += (min(waits, 1) - self._usual_waits) / _MEMORY
        if self._usual_s <= QUICK_S:
            self.ahead = int(self._slots * min(AHEAD_PER_SLOT_MAX, AHEAD_S / max(self._usual_s, 1e-6)))
        else:
            self.ahead = 0
        if self._usual_waits < WAITS_MAX:
            self.line = max(1, min(LINE_MAX, int(LINE_CPU_S / max(self._usual_cpu_s, 1e-6))))
        else:
            self.line = 1

    def slow_down(self) -> None:
        """A task takes long: take nothing ahead, and begin to learn anew."""
        self._usual_s = LONG_S
        self._usual_cpu_s = LONG_S
        self.ahead = 0
        self.line = 1
