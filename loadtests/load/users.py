"""Users for locust. `python -m loadtests.load` runs them; by hand, with locust's page:

    locust -f loadtests/load/users.py --host 127.0.0.1:8089

The programs must be registered (`python -m loadtests.load --register 127.0.0.1:8089`).
"""

import itertools
import json
import os
import random
import uuid
from pathlib import Path
from typing import Any, Final

from flyteidl.admin import common_pb2, execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from locust import User, between, constant, constant_throughput, task
from locust import events as locust_events
from locust.env import Environment

from loadtests.load.connection import CONNECTIONS, Connection, create_request, integer, timed
from loadtests.load.scope import DOMAIN, PROJECT
from loadtests.load.truth import TRUTH
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, outcome_pb2
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import watch_pb2

BULK: Final = 100
FAN: Final = 20
IS_FLOOR: Final = "WINGBEAT_LOAD_FLOOR" in os.environ
"""The server does nothing: launch as fast as it goes, and there is no truth to check."""
RUN: Final = uuid.uuid4().hex[:8]
_numbers = itertools.count()
_events: Any = locust_events


class _Caller(User):
    """What all have in common."""

    abstract = True
    connection: Connection

    def on_start(self) -> None:
        """Take a connection."""
        self.connection = CONNECTIONS.take(str(self.host))

    def call(self, name: str, call: Any) -> Any:
        """Make a timed call."""
        environment: Environment = self.environment  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return timed(environment, name, call)

    def new_name(self) -> str:
        """Of an execution."""
        return f"l{RUN}-{next(_numbers)}"


class UnaryLauncher(_Caller):
    """A service that starts an execution for each request of its own: ten a second."""

    wait_time = constant_throughput(10) if not IS_FLOOR else constant(0)

    @task
    def launch(self) -> None:
        """CreateExecution."""
        number = random.randrange(1 << 30)
        inputs = literals_pb2.LiteralMap(literals={"n": integer(number)})
        request = create_request(self.new_name(), "load.single", identifier_pb2.LAUNCH_PLAN, inputs)
        if self.call("CreateExecution", lambda: self.connection.admin.CreateExecution(request)):
            TRUTH.launched.append(request.name)


class BulkLauncher(_Caller):
    """A platform that launches a hundred at a time, with keys; each tenth call twice, as after a lost answer."""

    wait_time = between(0.2, 0.6)

    @task
    def launch(self) -> None:
        """Launch."""
        target = item_pb2.Target(name="load.single", kind=item_pb2.TARGET_KIND_LAUNCH_PLAN)
        names = [self.new_name() for _ in range(BULK)]
        items = [item_pb2.LaunchItem(name=name, idempotency_key=name) for name in names]
        for number, item in enumerate(items):
            item.inputs.json = json.dumps({"n": number})
        template = item_pb2.LaunchTemplate(target=target)
        request = launch_pb2.LaunchRequest(project=PROJECT, domain=DOMAIN, template=template, items=items)
        answer = self.call(f"Launch of {BULK}", lambda: self.connection.launch.Launch(request))
        if answer is None:
            return
        created = [o.execution.name for o in answer.outcomes if o.status == outcome_pb2.LAUNCH_STATUS_CREATED]
        TRUTH.launched += created
        if len(created) != BULK:
            raise AssertionError(f"{BULK - len(created)} of {BULK} items were not launched: {answer.outcomes[0]}")
        if random.random() < 0.1:
            again = self.call("Launch, again", lambda: self.connection.launch.Launch(request))
            statuses = {outcome.status for outcome in again.outcomes} if again else set[int]()
            if statuses - {outcome_pb2.LAUNCH_STATUS_EXISTING}:
                raise AssertionError(f"items with keys were launched twice: {statuses}")


class Waiter(_Caller):
    """A client that launches one and wants to know the moment that it has ended."""

    wait_time = between(0.1, 0.5)

    @task
    def launch_and_wait(self) -> None:
        """CreateExecution, WaitExecutions: the time of both."""
        inputs = literals_pb2.LiteralMap(literals={"n": integer(1)})
        request = create_request(self.new_name(), "load.single", identifier_pb2.LAUNCH_PLAN, inputs)
        named = identity_pb2.ExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=request.name)

        def launch_and_wait() -> bool:
            self.connection.admin.CreateExecution(request)
            TRUTH.launched.append(request.name)
            waiting = self.connection.watch.WaitExecutions(watch_pb2.WaitExecutionsRequest(executions=[named]))
            return any(message.ends for message in waiting)

        self.call("launch to end", launch_and_wait)


class ConsoleReader(_Caller):
    """Somebody who looks at the console: the list, an execution, its nodes, their values and attempts."""

    wait_time = between(0.5, 1.5)

    @task
    def look(self) -> None:
        """One page after the other."""
        admin = self.connection.admin
        listing = common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN),
            limit=25,
            sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
        )
        page = self.call("ListExecutions", lambda: admin.ListExecutions(listing))
        if not page or not page.executions:
            return
        execution = random.choice(page.executions).id
        get = execution_pb2.WorkflowExecutionGetRequest(id=execution)
        self.call("GetExecution", lambda: admin.GetExecution(get))
        nodes = node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution, limit=100)
        listed = self.call("ListNodeExecutions", lambda: admin.ListNodeExecutions(nodes))
        for node in listed.node_executions[:3] if listed else ():
            data = node_execution_pb2.NodeExecutionGetDataRequest(id=node.id)
            self.call("GetNodeExecutionData", lambda data=data: admin.GetNodeExecutionData(data))
            tasks = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=100)
            self.call("ListTaskExecutions", lambda tasks=tasks: admin.ListTaskExecutions(tasks))


class MapLauncher(_Caller):
    """A map over a launch plan: each launch makes a fan of executions."""

    wait_time = between(0.5, 1.5)

    @task
    def launch(self) -> None:
        """CreateExecution of the fan."""
        items = literals_pb2.LiteralCollection(literals=[integer(number) for number in range(FAN)])
        inputs = literals_pb2.LiteralMap(literals={"numbers": literals_pb2.Literal(collection=items)})
        fan = "loadtests.load.programs.fan_out"
        request = create_request(self.new_name(), fan, identifier_pb2.LAUNCH_PLAN, inputs)
        if self.call(f"CreateExecution, fan of {FAN}", lambda: self.connection.admin.CreateExecution(request)):
            TRUTH.launched.append(request.name)


@_events.test_start.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    if not IS_FLOOR:
        TRUTH.begin(CONNECTIONS.take(environment.host or ""))


@_events.test_stop.add_listener
def _finish(environment: Environment, **_: Any) -> None:
    if IS_FLOOR:
        return
    found = TRUTH.finish(CONNECTIONS.take(environment.host or ""))
    wrong = {key: found[key] for key in ("not_ended", "failed", "lost", "doubled", "launched_twice") if found[key]}
    if wrong:
        environment.process_exit_code = 1
    if path := os.environ.get("WINGBEAT_LOAD_TRUTH"):
        Path(path).write_text(json.dumps(found))
