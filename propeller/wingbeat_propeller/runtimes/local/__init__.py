"""The local runtime: tasks as processes of this machine.

`runtime.LocalRuntime` satisfies the port; `wingbeat_task_host` is the program that forks and watches the processes.
"""

from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.runtime import LocalRuntime
from wingbeat_propeller.runtimes.local.shutdown import stop_hosts

__all__ = ["LocalRuntime", "LocalRuntimeOptions", "stop_hosts"]
