"""Work for an execution that is done beside everything else, once, in a task of its own: reading what a step has asked
for, finding attempts that another engine had begun.

Not when the engine stops, while its last rows are written: whoever takes the execution up comes to the same place
again.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Errands:
    """Begins them in the engine's group of tasks; whoever asks for them bounds how many do something at once."""

    def __init__(self) -> None:
        self.tasks: asyncio.TaskGroup | None = None
        """The engine's, while it runs."""

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do it, or nothing of it when the engine stops."""
        try:
            if self.tasks is None:
                work.close()
            else:
                self.tasks.create_task(work, name=name)
        except RuntimeError:  # the group is shutting down
            work.close()
