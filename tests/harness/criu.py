"""Checkpoints with the real criu: where it is, whether it works here, and containers to checkpoint and restore."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.harness.agent import Agent
from tests.harness.bundle import Bundle
from tests.harness.host import scaled, wait_until
from tests.harness.runtime import ENVIRONMENT, Result, Running, Runtime
from tests.harness.text import lines, read

CRIU = os.environ.get("OCIPY_TEST_CRIU") or shutil.which("criu") or ""
SEARCHED = {"PATH": f"{os.path.dirname(CRIU)}:{ENVIRONMENT['PATH']}"}

# It exits with 7 on SIGUSR1. It counts in its memory, so after a restore it continues from the old number.
COUNTER = """
trap 'exit 7' USR1
i=0
while true; do i=$((i + 1)); echo $i > /count/n; sleep 0.2; done
"""


def reason_against() -> str:
    """Why criu does not work here; "" if it does."""
    if not CRIU:
        return "needs the program criu"
    if os.geteuid() != 0:
        return "needs root"
    checked = subprocess.run([CRIU, "check"], capture_output=True, timeout=scaled(60), check=False)
    if checked.returncode == 0:
        return ""
    said = next((line for line in lines(os.fsdecode(checked.stderr)) if "Error" in line), "it gives no reason")
    return f"needs a kernel that criu works on; `criu check`: {said}"


def has_feature(name: str) -> bool:
    """Whether criu and the kernel have a feature (criu check --feature)."""
    command = [CRIU, "check", "--feature", name]
    return subprocess.run(command, capture_output=True, timeout=scaled(60), check=False).returncode == 0


def version() -> tuple[int, ...]:
    """The first two numbers of criu's version."""
    said = subprocess.run([CRIU, "--version"], capture_output=True, text=True, timeout=scaled(60), check=True).stdout
    return tuple(int(number) for number in said.split()[1].split(".")[:2])


def nothing() -> dict[str, Any]:
    """/dev/null for all streams: criu cannot save files of the host."""
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def mounts_of(pid: int) -> list[tuple[str, str, str]]:
    """(mount point, type, options) of all mounts, without options that criu restores in another order."""
    fields = [line.split(" ") for line in lines(read(f"/proc/{pid}/mountinfo"))]
    return sorted((line[4], line[line.index("-") + 1], line[5]) for line in fields)


class Checkpointed:
    """A container with the paths of its images."""

    def __init__(self, runtime: Runtime, bundle: Bundle, work: Path, id: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = id
        self.work = work
        self.images = work / "images"
        self.globals: list[str | Path] = ["--log", work / "log"]

    def run(self, *flags: str | Path, **options: Any) -> int:
        """Run it detached, without a host file as a stream. Returns its pid."""
        self.bundle.write()
        self._quiet("run", "--detach", "--bundle", self.bundle.path, *flags, self.id, **options).ok()
        self.wait_ready()
        return self.pid

    def wait_ready(self) -> None:
        """Wait until its process is ready."""

    @property
    def pid(self) -> int:
        return int(self.runtime.state(self.id)["pid"])

    @property
    def status(self) -> str:
        status: str = self.runtime.state(self.id)["status"]
        return status

    def checkpoint(self, *flags: str | Path, **options: Any) -> Result:
        return self.begin_checkpoint(*flags, **options).wait(120)

    def begin_checkpoint(self, *flags: str | Path, **options: Any) -> Running:
        command: list[str | Path] = ["checkpoint", "--image-path", self.images, "--work-path", self.work / "w"]
        return self.runtime.begin(*command, *flags, self.id, env=SEARCHED, **options)

    def restore(self, *flags: str | Path, **options: Any) -> Result:
        """Restore it detached."""
        command: list[str | Path] = ["restore", "--detach", "--bundle", self.bundle.path]
        command += ["--image-path", self.images, "--work-path", self.work / "w"]
        return self._quiet(*command, *flags, self.id, timeout=120, env=SEARCHED, **options)

    def begin_restore(self, *flags: str | Path, **options: Any) -> Running:
        """Restore it in the foreground."""
        command: list[str | Path] = ["restore", "--bundle", self.bundle.path]
        command += ["--image-path", self.images, "--work-path", self.work / "w"]
        return self.runtime.begin(*command, *flags, self.id, env=SEARCHED, **{**nothing(), **options})

    def _quiet(self, *command: str | Path, **options: Any) -> Result:
        """Make a call whose streams become the container's. Its messages go to its log."""
        log = self.work / "log"
        log.unlink(missing_ok=True)
        result = self.runtime.call(*command, globals=self.globals, **{**nothing(), **options})
        result.stderr = result.stderr or (read(log) if log.exists() else "")
        return result

    def there_and_back(self, *flags: str | Path) -> None:
        """Checkpoint and restore with the same flags; asserts success."""
        self.checkpoint(*flags).ok()
        assert self.id not in self.runtime.ids()
        self.restore(*flags).ok()

    def processes(self) -> list[int]:
        """All processes in its pid namespace."""
        namespace = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace:
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def commands(self) -> str:
        """The command lines of its processes."""
        found = []
        for pid in self.processes():
            line = Path(f"/proc/{pid}/cmdline")
            found.append(read(line).replace("\0", " ").strip() if line.exists() else "")
        return "\n".join(found)

    def log(self, name: str) -> str:
        return (self.work / "w" / name).read_text(errors="replace")


class Counter(Checkpointed):
    """A shell that counts."""

    def __init__(self, runtime: Runtime, bundle: Bundle, work: Path, id: str) -> None:
        super().__init__(runtime, bundle.sh(COUNTER), work, id)
        (work / "count").mkdir(exist_ok=True)
        bundle.mount("/count", str(work / "count"), "rbind")

    def wait_ready(self) -> None:
        wait_until(lambda: self.count > 0, "the first count")

    @property
    def count(self) -> int:
        """The last number that it wrote."""
        file = self.work / "count/n"
        text = file.read_text() if file.exists() else ""
        return int(text) if text.strip() else 0

    def goes_on(self, before: int) -> None:
        """Assert that it continues to count from that number."""
        wait_until(lambda: self.count > before, "a higher count", 20)


class Asked(Checkpointed):
    """A Python that executes the test's code (tests/harness/agent.py)."""

    def __init__(self, runtime: Runtime, bundle: Bundle, work: Path, id: str) -> None:
        super().__init__(runtime, bundle, work, id)
        self.ask = Agent(bundle, work / "agent")

    def wait_ready(self) -> None:
        assert self.ask("1 + 1") == 2
