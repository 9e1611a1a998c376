"""Python values and FlyteIDL literals, without flytekit.

`encode` makes literals of values by the types of an interface, `decode` plain values of literals, `handles` has files,
folders and tables that are downloaded when they are used, `shape` turns plain values into classes of the caller.
"""
