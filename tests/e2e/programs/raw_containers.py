"""Container tasks without Python: their inputs arrive as files, their outputs are files they leave."""

from datetime import datetime, timedelta
from pathlib import Path

from flytekit import ContainerTask, current_context, kwtypes, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

SUM_UP = """
expr "$1" '*' "$2" > /var/outputs/area
echo "sides $1 and $2" > /var/outputs/words
test "$1" -eq "$2" && echo true > /var/outputs/is_square || echo false > /var/outputs/is_square
cp /var/inputs/begin /var/outputs/moment
echo 1h30m > /var/outputs/span
"""

SORT = """
cd /var/flyte/inputs
sort text words/* > /var/flyte/outputs/text
mkdir -p /var/flyte/outputs/folder/below
for part in parts/*; do sort $part > /var/flyte/outputs/folder/below/$(basename $part); done
cat limits/top > /var/flyte/outputs/seen
grep -c '^words:' inputs.yaml >> /var/flyte/outputs/seen
"""

rectangle = ContainerTask(
    name="raw_containers.rectangle",
    image="any",
    input_data_dir="/var/inputs",
    output_data_dir="/var/outputs",
    inputs=kwtypes(a=int, b=int, begin=datetime),
    outputs=kwtypes(area=int, words=str, is_square=bool, moment=datetime, span=timedelta),
    command=["sh", "-ec", SUM_UP, "rectangle", "{{.inputs.a}}", "{{.inputs.b}}"],
)

sort_lines = ContainerTask(
    name="raw_containers.sort_lines",
    image="any",
    metadata_format=ContainerTask.MetadataFormat.YAML,
    inputs=kwtypes(text=FlyteFile, parts=FlyteDirectory, words=list[str], limits=dict[str, int]),
    outputs=kwtypes(text=FlyteFile, folder=FlyteDirectory, seen=str),
    command=[
        "sh",
        "-ec",
        SORT,
    ],
)

complain = ContainerTask(
    name="raw_containers.complain",
    image="any",
    input_data_dir="/var/inputs",
    output_data_dir="/var/outputs",
    inputs=kwtypes(text=str),
    outputs=kwtypes(number=int),
    command=["sh", "-ec", "cp /var/inputs/text /var/outputs/_ERROR"],
)

mistype = ContainerTask(
    name="raw_containers.mistype",
    image="any",
    input_data_dir="/var/inputs",
    output_data_dir="/var/outputs",
    outputs=kwtypes(number=int),
    command=["sh", "-ec", "echo seven > /var/outputs/number"],
)


@task
def write_texts() -> tuple[FlyteFile, FlyteDirectory]:
    """A file and a folder for the container."""
    folder = Path(current_context().working_directory) / "parts"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text(f"{name} b\n{name} a\n", encoding="utf-8")
    text = folder.parent / "text"
    text.write_text("pear\napple\n", encoding="utf-8")
    return FlyteFile(str(text)), FlyteDirectory(str(folder))


@task
def read_texts(text: FlyteFile, folder: FlyteDirectory) -> list[str]:
    """Everything the container wrote, the folder's files by their paths in it."""
    base = Path(folder)
    found = sorted(path for path in base.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(base)}: {path.read_text(encoding='utf-8').split()}" for path in found]
    return [Path(text).read_text(encoding="utf-8"), *lines]


@workflow
def rectangle_wf(a: int, b: int, begin: datetime) -> tuple[int, str, bool, datetime, timedelta]:
    """Simple values in and out."""
    return rectangle(a=a, b=b, begin=begin)


@workflow
def sort_wf(words: list[str], limits: dict[str, int]) -> tuple[list[str], str]:
    """Files, folders, lists and maps, from a Python task and to one."""
    text, parts = write_texts()
    sorted_text, folder, seen = sort_lines(text=text, parts=parts, words=words, limits=limits)
    return read_texts(text=sorted_text, folder=folder), seen


@workflow
def complain_wf(text: str) -> int:
    """A container that says what is wrong."""
    return complain(text=text)


@workflow
def mistype_wf() -> int:
    """A container that returns the wrong type."""
    return mistype()
