"""The smallest program: one task in one workflow.

Run it here:        python examples/hello_world.py
Run it on Wingbeat: pyflyte run --remote examples/hello_world.py hello_world_wf --name Ada
"""

from flytekit import task, workflow


@task
def greet(name: str) -> str:
    """A greeting for one person."""
    return f"Hello, {name}!"


@workflow
def hello_world_wf(name: str = "world") -> str:
    """Greet somebody."""
    return greet(name=name)


if __name__ == "__main__":
    print(hello_world_wf())
