"""The phases that --trace times in addition to steps. Imported only with --trace."""

from __future__ import annotations

# For each module: the functions that are phases, by the names under which it calls them, and their names in the trace.
PHASES = {
    "ocipy.operations.bundle": {
        "read_document": "read config.json",
        "parse": "parse it",
        "check": "check it by the schema",
        "errors": "check the other rules",
    },
    "ocipy.operations.create": {
        "describe_host": "probe the host",
        "build": "plan",
        "make_directory": "make the state directory",
        "carry_out": "carry out the plan",
        "undo": "undo",
    },
    "ocipy.operations.exec": {
        "process_to_execute": "put the process together",
        "describe_host": "probe the host",
        "build": "plan",
        "carry_out": "carry out the plan, until the process has executed",
        "undo": "undo",
    },
    "ocipy.host.lane": {"load": "import the steps' modules"},
    "ocipy.operations.delete": {
        "remove_cgroup": "remove the cgroup",
        "remove_directory": "remove the state directory",
        "run_poststop": "poststop hooks",
    },
    "ocipy.operations.foreground": {"_until_end": "wait for the end"},
    "ocipy.operations.run": {"start": "start", "run_poststart": "poststart hooks", "delete_ended": "delete"},
    "ocipy.operations.start": {
        "start": "start",
        "_let_go": "let init go on, until it has executed",
        "run_poststart": "poststart hooks",
    },
}
