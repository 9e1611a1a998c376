"""Plays the scenarios of this folder with the Python client; README.md says what each step means."""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from wingbeat import AsyncClient, ExecutionId, Kind, Launch, Launched, Row
from wingbeat.errors import AlreadyExistsError, ConversionError, ServerError, WaitTimeoutError

STEP_TIMEOUT_S = 60.0


class Player:
    """One scenario."""

    def __init__(self, client: AsyncClient, run: str) -> None:
        self._client = client
        self._run = run
        self._launched: dict[str, list[Any]] = {}
        self._batches: dict[str, Any] = {}
        self._watching: Any = None
        self._prefix = ""

    async def play(self, step: dict[str, Any]) -> None:
        """Do a step. Raises AssertionError when something does not hold."""
        await asyncio.wait_for(getattr(self, f"_{step['do']}")(step), STEP_TIMEOUT_S)

    async def _launch(self, step: dict[str, Any]) -> None:
        launches = [self._item(item, n) for n in range(step.get("repeat", 1)) for item in step["items"]]
        outcomes = [one async for one in self._client.launch_many(launches)]
        self._launched[step["as"]] = outcomes
        statuses = step["statuses"]
        for number, outcome in enumerate(outcomes):
            wanted = statuses[number % len(statuses)]
            assert _status(outcome) == wanted, f"item {number} is {_status(outcome)}, not {wanted}: {outcome.error}"
        for number, wanted in enumerate(step.get("errors", ())):
            if wanted:
                _check_error(outcomes[number].error, wanted["code"], wanted["fields"])

    def _item(self, item: dict[str, Any], n: int) -> Launch:
        def text(name: str) -> str:
            return self._filled(item.get(name, "")).replace("{n}", str(n))

        return Launch(
            text("task") or text("workflow"),
            {name: _input(value) for name, value in item.get("inputs", {}).items()},
            kind=Kind.TASK if "task" in item else Kind.WORKFLOW,
            name=text("name"),
            key=text("key"),
            labels=item.get("labels", {}),
        )

    async def _same(self, step: dict[str, Any]) -> None:
        one, other = (self._launched[name][index].execution for name, index in (step["of"], step["as"]))
        assert one == other, f"{one} is not {other}"

    async def _wait(self, step: dict[str, Any]) -> None:
        ids = self._ids(step)
        ended = {one.name async for one in self._client.wait_many(ids, timeout_s=STEP_TIMEOUT_S)}
        assert ended == {one.name for one in ids}, f"{len(ids)} executions, {len(ended)} of them ended"
        if len(ids) > 50:  # their phases were told by the watch
            ids = ids[:50]
        phases, contains = step["phases"], step.get("contains", ())
        for number, one in enumerate(ids):
            execution = await self._client.execution(one)
            wanted = phases[number % len(phases)]
            assert execution.phase.name == wanted, f"{one} is {execution.phase.name}, not {wanted}"
            if number < len(contains) and contains[number]:
                assert contains[number] in str(execution.failure), execution.failure

    async def _outputs(self, step: dict[str, Any]) -> None:
        got = await self._client.outputs(self._ids(step)[step.get("index", 0)])
        wanted = step["equal"]
        assert got.keys() == wanted.keys(), f"{sorted(got)} are not {sorted(wanted)}"
        for name, value in wanted.items():
            assert _plain(got[name]) == _plain(_input(value)), f"{name} is {got[name]!r}"

    async def _watch(self, step: dict[str, Any]) -> None:
        self._prefix = self._filled(step["prefix"])
        self._watching = self._client.watch(cursor=await self._client.cursor())

    async def _watched(self, step: dict[str, Any]) -> None:
        left = {one.execution.name for name in step["of"] for one in self._launched[name]}
        seen: set[tuple[str, str]] = set()
        async with contextlib.aclosing(self._watching) as transitions:
            async for transition in transitions:
                name, phase = transition.execution.name, transition.phase.name
                if not name.startswith(self._prefix):
                    continue
                assert (name, phase) not in seen, f"{name} {phase} came twice"
                seen.add((name, phase))
                if transition.message.is_final:
                    assert name in left, f"{name} ended twice, or is unknown"
                    assert (name, "RUNNING") in seen, f"{name} ended and was never running"
                    left.remove(name)
                if not left:
                    return

    async def _restart(self, step: dict[str, Any]) -> None:
        del step
        print(json.dumps({"restart": True}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

    async def _deadline(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        try:
            await self._client.wait(one, timeout_s=step["timeout_ms"] / 1000)
        except WaitTimeoutError:
            return
        raise AssertionError("the wait did not end at its deadline")

    async def _cancel(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        waiting = asyncio.ensure_future(self._client.wait(one))
        await asyncio.sleep(step["after_ms"] / 1000)
        assert waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    async def _fails(self, step: dict[str, Any]) -> None:
        name = self._filled(step["name"])
        call: Awaitable[Any] = self._client.wait(name) if step["call"] == "wait" else self._client.outputs(name)
        error = None
        try:
            await call
        except ServerError as refused:
            error = refused
        assert error is not None, "the call did not fail"
        _check_error(error, step["code"], ())
        assert self._filled(step["contains"]) in str(error), error

    async def _batch(self, step: dict[str, Any]) -> None:
        options = {
            "name": self._filled(step["name"]),
            "kind": Kind.TASK if "task" in step else Kind.WORKFLOW,
            "alive_max": step.get("alive_max", 0),
        }
        entity = step.get("task") or step["workflow"]
        if "rows" in step:
            rows = [self._item(row, n) for n in range(step.get("repeat", 1)) for row in step["rows"]]
            made = await self._client.upload_batch((Row(one.inputs, one.key) for one in rows), entity, **options)
        else:
            made = await self._client.create_batch(os.environ["MANIFEST"], entity, **options)
        self._batches[step["as"]] = made

    async def _batch_wait(self, step: dict[str, Any]) -> None:
        batch = await self._client.wait_batch(self._batches[step["of"]], timeout_s=STEP_TIMEOUT_S)
        assert batch.state.name == step["state"], (
            f"the batch is {batch.state.name}, not {step['state']}: {batch.reason}"
        )
        for name, wanted in step["counts"].items():
            assert getattr(batch.counts, name) == wanted, f"{batch.counts} and not {wanted} {name}"

    async def _batch_change(self, step: dict[str, Any]) -> None:
        batch = self._filled(step["name"]) if "name" in step else self._batches[step["of"]]
        changed = await _refused(getattr(self._client, f"{step['call']}_batch")(batch), step)
        if "rows" in step:
            assert changed == step["rows"], f"{changed} rows are launched again"
        elif "state" in step:
            assert changed.state.name == step["state"], f"the batch is {changed.state.name}, not {step['state']}"

    async def _batch_results(self, step: dict[str, Any]) -> None:
        results = self._client.batch_results(self._batches[step["of"]], skip=step.get("skip", 0))
        got = [one async for one in results]
        equal = step.get("equal", ())
        assert len(got) == step.get("count", len(equal)), f"there are {len(got)} results"
        for wanted in equal:
            assert any(
                (one["key"], one["attempt"], one["phase"], one["outputs"])
                == (wanted["key"], wanted["attempt"], wanted["phase"], wanted.get("outputs"))
                and wanted["error"] in (one["error"] or "")
                and (one["execution"] is None) == (one["phase"] == "REFUSED")
                for one in got
            ), f"{wanted} is not among {got}"

    async def _signals(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        while True:
            signals = [signal async for signal in self._client.signals(one)]
            assert all((signal.value is not None) == signal.is_set for signal in signals), signals
            if {signal.id: signal.value for signal in signals} == step["equal"]:
                return
            await asyncio.sleep(0.1)

    async def _signal(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        await _refused(self._client.signal(one, step["signal"], step["value"]), step)

    async def _terminate(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        await _refused(self._client.terminate(one, self._filled(step["cause"])), step)

    async def _relaunch(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        self._keep(step, one, await self._client.relaunch(one))

    async def _recover(self, step: dict[str, Any]) -> None:
        (one,) = self._ids(step)
        self._keep(step, one, await self._client.recover(one))

    def _keep(self, step: dict[str, Any], before: ExecutionId, made: ExecutionId) -> None:
        assert made != before, f"{made} is the same execution"
        self._launched[step["as"]] = [Launched(Launch(""), made, created=True)]

    def _ids(self, step: dict[str, Any]) -> list[Any]:
        return [one.execution for one in self._launched[step["of"]] if one.error is None]

    def _filled(self, text: str) -> str:
        return text.replace("{run}", self._run)


async def _refused(call: Awaitable[Any], step: dict[str, Any]) -> Any:
    """What a call answers; nothing when it fails with the code that it should have."""
    try:
        answer = await call
    except ServerError as refused:
        if refused.code != step.get("code"):
            raise
        return None
    assert "code" not in step, f"it did not fail with {step['code']}"
    return answer


def _status(outcome: Any) -> str:
    if outcome.error is None:
        return "created" if outcome.created else "existing"
    return "conflict" if isinstance(outcome.error, AlreadyExistsError) else "refused"


def _check_error(error: Any, code: str, fields: Any) -> None:
    if isinstance(error, ConversionError):  # found before anything was sent
        assert code == "INVALID_ARGUMENT", error
        assert all(field.rsplit(".", 1)[-1] in str(error) for field in fields), error
        return
    assert error.code == code, f"{error} is not {code}"
    named = {violation.field for violation in error.violations}
    assert named.issuperset(fields), f"{error} does not name {fields}"


def _input(value: Any) -> Any:
    """What a program would give for a value of a scenario."""
    if isinstance(value, dict) and "integer" in value:
        return int(value["integer"])
    if isinstance(value, dict) and "$repeat" in value:
        text, times = value["$repeat"]
        return text * times
    if isinstance(value, dict) and value.keys() == {"uri"}:
        return value["uri"]
    return value


def _plain(value: Any) -> Any:
    """The form of values that scenarios compare."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return {"seconds": value.total_seconds()}
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case str() if len(value) > 1000:
            return {"length": len(value), "sha256": hashlib.sha256(value.encode()).hexdigest()}
        case _:
            return getattr(value, "uri", value)


async def _play(endpoint: str, path: Path, run: str) -> dict[str, Any]:
    scenario = json.loads(path.read_text())
    at = ""
    try:
        async with AsyncClient(endpoint, ca_certificate=os.environ.get("CA_CERT")) as client:
            player = Player(client, run)
            for number, step in enumerate(scenario["steps"]):
                at = f"step {number} ({step['do']}): "
                await player.play(step)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what there is to say
        return {"scenario": scenario["name"], "ok": False, "error": f"{at}{type(error).__name__} {error}"}
    return {"scenario": scenario["name"], "ok": True}


async def main() -> None:
    """One line for each scenario."""
    for number, path in enumerate(sys.argv[2:]):
        run = f"py{number}{time.time_ns():x}"
        print(json.dumps(await _play(sys.argv[1], Path(path), run)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
