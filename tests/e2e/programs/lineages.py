"""Values that pass through everything there is on their way: sub-workflows, branches, maps, children, files."""

from dataclasses import dataclass
from pathlib import Path

from flytekit import LaunchPlan, conditional, current_context, dynamic, map_task, task, workflow
from flytekit.types.file import FlyteFile


@task
def write(text: str) -> FlyteFile:
    """A file with that text."""
    path = Path(current_context().working_directory, "text")
    path.write_text(text)
    return FlyteFile(str(path))


@task
def measure(file: FlyteFile) -> int:
    """Its length."""
    return len(Path(file.download()).read_text())


@task
def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


@task
def total(numbers: list[int]) -> int:
    """Their sum."""
    return sum(numbers)


@dataclass
class Report:
    """A value with files inside."""

    title: str
    pages: list[FlyteFile]


@task
def compose(text: str) -> Report:
    """Two pages with that text."""
    folder = Path(current_context().working_directory)
    for number in range(2):
        (folder / str(number)).write_text(text)
    return Report(text, [FlyteFile(str(folder / str(number))) for number in range(2)])


@task
def count(reports: dict[str, Report]) -> int:
    """How many characters there are on all pages."""
    return sum(len(Path(page.download()).read_text()) for report in reports.values() for page in report.pages)


@workflow
def composing_wf(text: str) -> Report:
    """Makes files inside of a dataclass."""
    return compose(text=text)


@workflow
def counting_wf(reports: dict[str, Report]) -> int:
    """Is given such files in a map."""
    return count(reports=reports)


@workflow
def doubling_wf(number: int) -> int:
    """What other workflows use."""
    return double(number=number)


doubling_lp = LaunchPlan.get_or_create(doubling_wf, name="lineages.doubling_lp")


@workflow
def writing_wf(text: str) -> FlyteFile:
    """Makes a file."""
    return write(text=text)


@workflow
def measuring_wf(file: FlyteFile) -> int:
    """Is given a file that another execution has made."""
    return measure(file=file)


@dynamic
def doubled_parts(number: int) -> int:
    """Makes its workflow while it runs."""
    return double(number=number + 1)


@workflow
def long_way_wf(text: str) -> int:
    """A file, its length, a sub-workflow, a child, a branch, a dynamic task and a map."""
    length = measure(file=write(text=text)).with_overrides(node_name="measured")
    inside = doubling_wf(number=length)
    child = doubling_lp(number=inside)
    chosen = conditional("size").if_(child > 4).then(double(number=child)).else_().then(double(number=length))
    made = doubled_parts(number=chosen)
    parts = map_task(double)(number=[made, length])
    return total(numbers=parts)


@workflow
def many_children_wf(numbers: list[int]) -> int:
    """A child for each number."""
    return total(numbers=map_task(doubling_lp)(number=numbers))


@task(cache=True, cache_version="1")
def cached_text(text: str) -> str:
    """Runs once for each text."""
    return f"{text}!"


@task(cache=True, cache_version="1")
def halve(number: int) -> int:
    """Runs once for each number."""
    return number // 2


@workflow
def halving_wf(numbers: list[int]) -> list[int]:
    """A map whose elements may be cached."""
    return map_task(halve)(number=numbers)


@task
def fail_while(folder: str, text: str) -> str:
    """Fails as long as a file says so."""
    if Path(folder, "broken").exists():
        raise ValueError("broken")
    return text


@workflow
def cached_wf(text: str) -> str:
    """Its task may be cached."""
    return cached_text(text=text)


@workflow
def recovered_wf(folder: str, text: str) -> str:
    """What succeeded before the failure is taken over."""
    return fail_while(folder=folder, text=cached_text(text=text))
