"""Memory of tasks with all that they have started, by /proc."""

import os

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def session_rss_bytes() -> dict[int, int]:
    """Resident memory by session, summed over its processes; empty where there is no /proc."""
    usage: dict[int, int] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return usage
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has just ended
        session = int(fields[3])
        usage[session] = usage.get(session, 0) + int(fields[21]) * _PAGE_BYTES
    return usage


def total_bytes() -> int:
    """Memory of this machine, or what the container may use of it; 0 where that is unknown."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    except (OSError, ValueError):
        return 0
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                return min(physical, int(file.read()))
        except (OSError, ValueError):
            continue
    return physical
