"""`wingbeat cache`: why calls were not found in the cache, and what an execution has put taken out again."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from wingbeat.cli.calls import TIMEOUT_S, calls_to
from wingbeat.cli.examples import epilog
from wingbeat.cli.execution_names import DOMAIN, PROJECT, Domain, Execution, Project, parse_execution
from wingbeat.cli.output import Format, as_json, escape, fail, say, say_json
from wingbeat.cli.session import DataDir, Endpoint
from wingbeatidl.cache.v1 import cache_pb2

if TYPE_CHECKING:
    import grpc

cache = typer.Typer(add_completion=False, no_args_is_help=True, help="The cache of the outputs of tasks.")

Output: TypeAlias = Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")]

_SERVICE = "/wingbeatidl.cache.v1.CacheService/"


class CacheClient:
    """The rpcs of an installation's own CacheService. They raise grpc.RpcError."""

    def __init__(self, channel: "grpc.Channel") -> None:
        self._explain = channel.unary_unary(
            f"{_SERVICE}ExplainMiss",
            request_serializer=cache_pb2.ExplainMissRequest.SerializeToString,
            response_deserializer=cache_pb2.ExplainMissResponse.FromString,
        )
        self._evict_execution = channel.unary_unary(
            f"{_SERVICE}EvictExecution",
            request_serializer=cache_pb2.EvictExecutionRequest.SerializeToString,
            response_deserializer=cache_pb2.EvictExecutionResponse.FromString,
        )
        self._evict_node = channel.unary_unary(
            f"{_SERVICE}EvictNode",
            request_serializer=cache_pb2.EvictNodeRequest.SerializeToString,
            response_deserializer=cache_pb2.EvictNodeResponse.FromString,
        )

    def explain(self, request: cache_pb2.ExplainMissRequest) -> cache_pb2.ExplainMissResponse:
        """Why a call was not found."""
        return self._explain(request, timeout=TIMEOUT_S)

    def evict(
        self, execution: cache_pb2.ExecutionName, node_id: str
    ) -> cache_pb2.EvictExecutionResponse | cache_pb2.EvictNodeResponse:
        """Take out what an execution, or one node of it, has put or was given."""
        if node_id:
            request = cache_pb2.EvictNodeRequest(execution=execution, node_id=node_id)
            return self._evict_node(request, timeout=TIMEOUT_S)
        return self._evict_execution(cache_pb2.EvictExecutionRequest(execution=execution), timeout=TIMEOUT_S)


@cache.command(
    "why", epilog=epilog("wingbeat cache why a1b2c3 n0", "wingbeat cache why a1b2c3 n2 --element 17 -o json")
)
def why(
    execution: Execution,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Unique id of a task node, or of an array of tasks.")],
    element: Annotated[int | None, typer.Option(min=0, help="Of an array: which of its elements.")] = None,
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Entries in the answer.")] = 5,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Say why a node was not found in the cache: the nearest entries, and what differs."""
    call = cache_pb2.NodeCall(execution=_execution(execution, project, domain), node_id=node, element=element)
    with calls_to(endpoint, data_dir) as channel:
        answer = CacheClient(channel).explain(cache_pb2.ExplainMissRequest(node=call, limit=limit))
    if output is Format.JSON:
        say_json(as_json(answer))
        return
    say(escape(answer.sentence))
    for neighbour in answer.neighbours:
        say(f"  {escape(neighbour.sentence)}")
    if answer.truncated:
        say(f"[dim]Only {answer.compared} entries were compared, the newest ones[/]")


@cache.command("evict", epilog=epilog("wingbeat cache evict a1b2c3", "wingbeat cache evict a1b2c3 n0"))
def evict(
    execution: Execution,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="Unique id of a node; without it all of the execution.")
    ] = "",
    project: Project = PROJECT,
    domain: Domain = DOMAIN,
    output: Output = Format.TEXT,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Take the entries out that an execution has put or was given, so that the next run makes them anew."""
    name = _execution(execution, project, domain)
    with calls_to(endpoint, data_dir) as channel:
        answer = CacheClient(channel).evict(name, node)
    if output is Format.JSON:
        say_json(as_json(answer))
        return
    entries = "1 entry" if answer.entries == 1 else f"{answer.entries} entries"
    say(f"{entries} evicted; nodes and elements that show CACHE_EVICTED now: {answer.marked}")


def _execution(execution: str, project: str, domain: str) -> cache_pb2.ExecutionName:
    try:
        identifier = parse_execution(execution, project, domain)
    except ValueError as error:
        fail(str(error), status=2)
    return cache_pb2.ExecutionName(project=identifier.project, domain=identifier.domain, name=identifier.name)
