"""Keys of tasks, computed once for each `CachedTask` and kept as long as it lives, and keys of the last small calls:
what is looked up in vain is mostly put soon after.
"""

from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.catalog_metadata import with_tag
from wingbeat_catalog.keys import CallKey, TaskKey, call_key, tag_key, task_key
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.ports.cache import CacheAsk, CacheFailure, CacheMiss


class Call(NamedTuple):
    """One call of a task with everything that its key is made of."""

    task: TaskKey
    key: CallKey
    inputs: literals_pb2.LiteralMap
    exact: bytes
    """Key of the tag that Flyte knows it by."""
    canonical: bytes
    """Key of the tag that all equal calls share."""


RECENT_MAX: Final = 4_000
"""Calls whose keys are kept until they are asked for once more."""
RECENT_BYTES_MAX: Final = 1_024
"""Largest inputs of such a call."""


class TaskKeys:
    """Not more than one entry for each living task, and RECENT_MAX calls."""

    def __init__(self) -> None:
        self._recent: dict[tuple[CachedTask, bytes], Call] = {}
        self._keys: WeakKeyDictionary[CachedTask, TaskKey | CacheFailure] = WeakKeyDictionary()

    def call(self, ask: CacheAsk) -> Call | CacheFailure:
        """The call that is asked for, or why it has no key."""
        recent = self._recent
        place = (ask.task, ask.inputs)
        known = recent.pop(place, None)
        if known is not None:
            return known
        call = self._computed(ask)
        if isinstance(call, Call) and len(ask.inputs) <= RECENT_BYTES_MAX:
            if len(recent) >= RECENT_MAX:
                del recent[next(iter(recent))]
            recent[place] = call
        return call

    def _computed(self, ask: CacheAsk) -> Call | CacheFailure:
        task = self._keys.get(ask.task)
        if task is None:
            task = self._keys[ask.task] = _task_key(ask.task)
        if isinstance(task, CacheFailure):
            return task
        try:
            inputs = literals_pb2.LiteralMap.FromString(ask.inputs)
            key = call_key(task, inputs)
        except (DecodeError, ValueError) as error:
            return CacheFailure(task.catalog, f"the inputs have no key: {error}")
        exact = tag_key(task.digest, key.exact)
        canonical = exact if key.exact == key.canonical else tag_key(task.digest, key.canonical)
        return Call(task, key, inputs, exact, canonical)


def miss(call: Call) -> CacheMiss:
    """No entry: the dataset and the tag that all equal calls share, which is what a reservation is for."""
    return CacheMiss(with_tag(call.task.catalog, call.key.canonical))


def _task_key(task: CachedTask) -> TaskKey | CacheFailure:
    try:
        return task_key(task)
    except (DecodeError, ValueError) as error:
        return CacheFailure(b"", str(error))
