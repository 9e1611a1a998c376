"""The processes in which a worker runs tasks: a zygote that has flytekit loaded, and the children that it forks.

They run under the interpreter that holds flytekit and the user's libraries, which need not hold Wingbeat; so this
package imports nothing but the standard library, flytekit, and itself by its place on disk.
"""
