"""Artifacts: outputs with names and partitions, and workflows whose inputs ask for them."""

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from flyteidl.core.artifact_id_pb2 import Granularity
from flytekit import dynamic, map_task, task, workflow
from flytekit.core.artifact import Artifact, Inputs

Model = Artifact(name="model", partition_keys=["region", "size"])
Daily = Artifact(name="daily", time_partitioned=True, time_partition_granularity=Granularity.DAY)
Doubled = Artifact(name="doubled")
Grown = Artifact(name="grown")


@task
def train(region: str, number: int) -> Annotated[int, Model(region=Inputs.region)]:
    """One partition is bound to an input, the other is set while it runs."""
    return Model.create_from(number + 1, size="large" if number > 9 else "small")


@workflow
def mapping_wf(regions: list[str], size: int) -> list[int]:
    """Makes a model for each region, and one by itself, so that the task is registered with the workflow."""
    train(region="alone", number=size)
    return map_task(partial(train, number=size))(region=regions)


@task
def trim(region: str) -> Annotated[int, Model(region=Inputs.region)]:
    """Is mapped and used nowhere else, so nothing registers it."""
    return Model.create_from(len(region), size="small")


@workflow
def mapping_alone_wf(regions: list[str]) -> list[int]:
    """Maps a task that is not registered."""
    return map_task(trim)(region=regions)


@task
def grow(number: int) -> Annotated[int, Grown]:
    """Only a dynamic task uses it."""
    return number + 1


@dynamic
def growing(number: int) -> int:
    """Brings its task along."""
    return grow(number=number)


@workflow
def growing_wf(number: int) -> int:
    """A dynamic task whose task makes an artifact."""
    return growing(number=number)


@task
def forget(region: str, number: int) -> Annotated[int, Model(region=Inputs.region)]:
    """Leaves a partition without a value."""
    return number


@task
def report(day: datetime, text: str) -> Annotated[str, Daily(time_partition=Inputs.day)]:
    """An artifact for each day."""
    return f"{text} of {day:%Y-%m-%d}"


@task
def double(number: int) -> int:
    """No artifact itself."""
    return 2 * number


@task
def shout(text: str) -> str:
    """Louder."""
    return text.upper()


@workflow
def training_wf(region: str, number: int) -> int:
    """Makes a model."""
    return train(region=region, number=number)


@workflow
def forgetting_wf(region: str, number: int) -> int:
    """Makes none."""
    return forget(region=region, number=number)


@workflow
def reporting_wf(day: datetime, text: str) -> str:
    """Makes a report."""
    return report(day=day, text=text)


@workflow
def doubling_wf(number: int) -> Annotated[int, Doubled]:
    """The output of the workflow is the artifact."""
    return double(number=number)


@workflow
def using_wf(region: str, model: int = Model.query(region=Inputs.region, size="small")) -> int:
    """Doubles the newest small model of a region."""
    return double(number=model)


@workflow
def day_wf(text: str = Daily.query(time_partition=datetime(2026, 5, 1, 13, tzinfo=UTC))) -> str:
    """Says what that day's report says."""
    return shout(text=text)
