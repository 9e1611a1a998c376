"""Workflows that clean up after a failure."""

from flytekit import task, workflow
from flytekit.types.error import FlyteError


@task
def fail(path: str) -> str:
    """Always fails."""
    if path:
        raise ValueError(f"no such cluster in {path}")
    return path


@task
def clean_up(path: str, err: FlyteError | None = None) -> None:
    """Writes down what it was told."""
    with open(path, "a") as file:
        file.write(f"{err.failed_node_id}: {err.message.splitlines()[-1].strip()}\n" if err else "nothing\n")


@task
def clean_up_quietly(path: str) -> None:
    """Does not ask for the error."""
    with open(path, "a") as file:
        file.write("quiet\n")


@task
def fail_to_clean_up(path: str) -> None:
    """A handler that fails itself."""
    raise RuntimeError("the broom is broken")


@workflow(on_failure=clean_up)
def told_wf(path: str) -> str:
    """The handler is told."""
    return fail(path=path)


@workflow(on_failure=clean_up_quietly)
def untold_wf(path: str) -> str:
    """The handler is not told."""
    return fail(path=path)


@workflow(on_failure=fail_to_clean_up)
def broken_wf(path: str) -> str:
    """The handler fails."""
    return fail(path=path)


@workflow
def cleaning_wf(path: str) -> None:
    """A workflow as handler."""
    clean_up_quietly(path=path)


@workflow(on_failure=cleaning_wf)
def inner_wf(path: str) -> str:
    """Cleans up by a workflow."""
    return fail(path=path)


@workflow(on_failure=clean_up)
def nested_wf(path: str) -> str:
    """Handlers of the inner and the outer workflow both run, the inner one first."""
    return inner_wf(path=path)
