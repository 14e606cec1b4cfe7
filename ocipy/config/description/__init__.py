"""The one description of config.json: TypedDicts whose members say everything about them.

A member has its type; in Annotated what a type checker cannot say (markers.py, values.py); and below it, as a string,
what it is for. Type checkers read the TypedDicts through ocipy/config/types.py. All else is generated from them:

    python -m ocipy.config.generate

writes spec/*.schema.json, ocipy/config/rules.py and docs/config.md. Cold: none of this is imported at run time.
"""
