"""flytekit's Echo tasks, which the engine carries out itself."""

from flytekit import task, workflow
from flytekit.core.task import Echo

one = Echo(name="echoes.one", inputs={"text": str})
three = Echo(name="echoes.three", inputs={"number": int, "flags": list[bool], "text": str})
none = Echo(name="echoes.none")


@task
def repeat(text: str, times: int) -> str:
    """A text of any length."""
    return text * times


@workflow
def echo_wf(number: int, flags: list[bool], text: str, times: int) -> tuple[int, list[bool], str, str]:
    """Several values, and one that may be too large for a row."""
    same_number, same_flags, same_text = three(number=number, flags=flags, text=text)
    none()
    return same_number, same_flags, same_text, one(text=repeat(text=same_text, times=times))
