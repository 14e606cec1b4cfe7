"""A container's life with the library: python examples/one_container.py [BUSYBOX]

BUSYBOX is a statically linked busybox; it defaults to /bin/busybox. Needs root, and leaves nothing behind.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import ocipy


def make_bundle(directory: Path, busybox: str, script: str) -> Path:
    """A bundle that runs a shell script."""
    binaries = directory / "rootfs/bin"
    binaries.mkdir(parents=True)
    shutil.copy(busybox, binaries / "busybox")
    for name in ("sh", "sleep", "cat", "echo"):
        (binaries / name).symlink_to("busybox")
    config = ocipy.template()
    config["process"] |= {"terminal": False, "args": ["sh", "-c", script]}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def execute(web: ocipy.Container) -> None:
    """Run more processes in a container: with output, with a timeout, on a terminal."""
    done = web.exec(["sh", "-c", "echo hello from $PWD"], cwd="/bin", capture_output=True)
    print("it answered:", done.stdout.decode().strip())
    try:
        web.exec(["sh", "-c", "echo so far; exec sleep 1000"], capture_output=True, timeout=1)
    except ocipy.TimeoutExpired as expired:
        print("too slow, killed: it had said", (expired.stdout or b"").decode().strip())
    with ocipy.ConsoleSocket() as console:
        shell = web.spawn(["sh", "-c", "read line; echo $line is $(($line)); exit 7"], console_socket=console)
        terminal = console.receive()
    with shell, terminal:
        terminal.write(b"6 + 36\n")
        shown = b""
        # The terminal echoes the input.
        while shown.count(b"\n") < 2:
            shown += terminal.read(1000)
        print("the shell shows:", shown.decode().splitlines()[-1], "and ends with", shell.wait())


def main(busybox: str) -> None:
    """Take a container from its bundle to its end."""
    with tempfile.TemporaryDirectory() as place:
        bundle = make_bundle(Path(place, "bundle"), busybox, "echo hello; exec sleep 1000")
        runtime = ocipy.Runtime(Path(place, "state"))

        for finding in runtime.validate(bundle):
            print(finding)
        plan = runtime.plan(bundle)
        print(len(plan.host), "steps on the host,", len(plan.init), "in the container")

        with Path(place, "output").open("w+") as output:
            web = runtime.create("web", bundle, stdin=0, stdout=output)
            print("web is", web.state().status)
            web.start()
            print("web is", web.state().status)
            web.pause()
            print("web is", web.state().status)
            web.resume()
            execute(web)
            web.kill("KILL")
            web.wait()
            web.delete()
            output.seek(0)
            print("it said:", output.read().strip())

        # All of it in one call, which returns the process's exit status.
        make_bundle(Path(place, "other"), busybox, "cat; exit 3")
        done = runtime.run("other", Path(place, "other"), input=b"echoed", stdout=-1)
        print("other ended with", done.returncode, "and said", done.stdout.decode())

        try:
            web.start()
        except ocipy.Error as error:
            print("error:", error.what, error.pointer or "-", error.errno, error.status)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/bin/busybox")
