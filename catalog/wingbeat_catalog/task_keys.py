"""Keys of tasks, computed once for each `CachedTask` and kept as long as it lives."""

from typing import NamedTuple
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


class TaskKeys:
    """Not more than one entry for each living task."""

    def __init__(self) -> None:
        self._keys: WeakKeyDictionary[CachedTask, TaskKey | CacheFailure] = WeakKeyDictionary()

    def call(self, ask: CacheAsk) -> Call | CacheFailure:
        """The call that is asked for, or why it has no key."""
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
