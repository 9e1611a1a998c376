"""The server's commands of `wingbeat`: one module a command, imported when the command is typed.

A command is a function with Typer annotations. What a user can mend is one sentence on the error output and exit
status 1, never a traceback.
"""
