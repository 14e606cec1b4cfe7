"""A Python in the container that executes the test's code, to create what a checkpoint has to save.

The container gets the host's /usr read-only, and a directory for questions and answers.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.harness.bundle import Bundle
from tests.harness.host import wait_until

PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

# It polls for questions, so that a checkpoint finds it asleep and without any host file open.
_PROGRAM = """
import json, os, time
def answered(source, names):
    try:
        try:
            code = compile(source, "question", "eval")
        except SyntaxError:
            exec(compile(source, "question", "exec"), names)
            return {"value": None}
        return {"value": eval(code, names)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}
def serve(names):
    while True:
        try:
            with open("/agent/question") as file:
                question = file.read()
        except FileNotFoundError:
            time.sleep(0.03)
            continue
        os.unlink("/agent/question")
        answer = answered(question, names)
        with open("/agent/answer.new", "w") as file:
            json.dump(answer, file, default=str)
        os.rename("/agent/answer.new", "/agent/answer")
serve({"os": os, "time": time})
"""


class Agent:
    """The test's side. `place` is the directory on the host that both share."""

    def __init__(self, bundle: Bundle, place: Path) -> None:
        """Make the agent the bundle's process."""
        place.mkdir(exist_ok=True)
        place.chmod(0o777)
        self.place = place
        for name in ("lib", "lib64"):
            if not (bundle.rootfs / name).is_symlink() and Path("/usr", name).is_dir():
                (bundle.rootfs / name).symlink_to(f"usr/{name}")
        bundle.mount("/usr", "/usr", "rbind", "ro").mount("/agent", str(place), "rbind")
        bundle.args(PYTHON, "-I", "-S", "-B", "-c", _PROGRAM)

    @staticmethod
    def reason_against() -> str:
        """Why the host cannot have an agent; "" if it can."""
        return "" if PYTHON.startswith("/usr/") else f"needs Python's own files in /usr, not {PYTHON}"

    def __call__(self, source: str, timeout: float = 20) -> Any:
        """The value of an expression in the agent, or None for statements. Raises AssertionError if it raises there, or
        if no answer comes."""
        answer = self.place / "answer"
        answer.unlink(missing_ok=True)
        (self.place / "question.new").write_text(source)
        (self.place / "question.new").rename(self.place / "question")
        wait_until(answer.exists, f"the answer to {source!r}", timeout)
        found = json.loads(answer.read_text())
        assert "error" not in found, f"{source!r}: {found['error']}"
        return found["value"]
