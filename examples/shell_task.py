"""A task that is a shell script, between two tasks in Python; a file goes in and a file comes out.

Run it here:        python examples/shell_task.py
Run it on Wingbeat: pyflyte run --remote examples/shell_task.py shell_wf
"""

import tempfile
from pathlib import Path

from flytekit import current_context, kwtypes, task, workflow
from flytekit.extras.tasks.shell import OutputLocation, ShellTask
from flytekit.types.file import FlyteFile

count_words = ShellTask(
    name="count_words",
    script="tr -s '[:space:]' '\\n' < {inputs.text} | sort | uniq -c | sort -k1,1nr -k2 > {outputs.counts}\n",
    inputs=kwtypes(text=FlyteFile),
    output_locs=[OutputLocation(var="counts", var_type=FlyteFile, location=f"{tempfile.gettempdir()}/counts.txt")],
)


@task
def write_text(words: list[str]) -> FlyteFile:
    """Words as a text file."""
    path = Path(current_context().working_directory) / "text.txt"
    path.write_text(" ".join(words) + "\n", encoding="utf-8")
    return FlyteFile(str(path))


@task
def most_frequent(counts: FlyteFile) -> str:
    """The word on the first line, with its count."""
    number, word = Path(counts).read_text(encoding="utf-8").split("\n", 1)[0].split()
    return f"'{word}' occurs {number} times"


@workflow
def shell_wf(words: list[str] = ["to", "be", "or", "not", "to", "be", "to"]) -> str:  # noqa: B006 - flytekit reads it once
    """Write, count, read."""
    return most_frequent(counts=count_words(text=write_text(words=words)))


if __name__ == "__main__":
    print(shell_wf())
