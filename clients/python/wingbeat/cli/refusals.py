"""What a server answers when it refuses, as a person reads it."""

import re

_MISSING = re.compile(r"missing entity of type ([\w ]+) with identifier (.*)", re.DOTALL)
_FIELD = re.compile(r'(\w+): "([^"]*)"')
_ATTEMPTS = re.compile(r".*last error: (?:\w+: )?[^ ]+: ", re.DOTALL)


def refusal(message: str) -> str:
    """A message of Flyte's form about what is not there, with the name as people type it; others as they are."""
    found = _MISSING.fullmatch(message.strip())
    if found is None:
        return message
    kind = found[1].lower().replace("_", " ")
    fields = dict(_FIELD.findall(found[2]))
    place = "/".join(filter(None, (fields.get("project"), fields.get("domain"), fields.get("name"))))
    if fields.get("version"):
        place += f"@{fields['version']}"
    if "node_id" in fields:
        return f"there is no node {fields['node_id']!r} of the execution {place}"
    return f"there is no {kind} {place or found[2]}"


def silence(address: str, reason: str) -> str:
    """A server that does not answer, why, and what to do."""
    why = _ATTEMPTS.sub("", reason)
    return f"the server at {address} does not answer: {why} (does it run? `wingbeat status`; another one: --endpoint)"
