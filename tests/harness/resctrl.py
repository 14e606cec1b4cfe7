"""A filesystem that behaves like resctrl, for hosts without one. It speaks the FUSE protocol (linux/fuse.h).

    python -m tests.harness.resctrl MOUNTPOINT

A new group gets its files; the number of groups is limited; schemata are checked and merged; a task is in one class of
service, and only in monitoring groups below it. The file `writes` at the top, which resctrl lacks, logs all writes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator

CLASSES, MONITORS = 3, 2
START = {"L3": {"0": "7ff", "1": "7ff"}, "MB": {"0": "100", "1": "100"}}
DIRECT_IO = 1
FORGET, INTERRUPT, DESTROY, BATCH_FORGET = 2, 36, 38, 42


class Node:
    """A file or directory. content: a file's content, computed when it is read."""

    def __init__(self, name: str, parent: Node | None, content: Callable[[], str] | None = None) -> None:
        self.name = name
        self.parent = parent
        self.content = content
        self.children: dict[str, Node] = {}
        self.tasks: list[str] = []
        self.schemata: dict[str, dict[str, str]] = {}

    def add(self, name: str, content: Callable[[], str] | None = None) -> Node:
        made = self.children[name] = Node(name, self, content)
        return made

    @property
    def path(self) -> str:
        return "" if self.parent is None else f"{self.parent.path}/{self.name}"


class Resctrl:
    """The filesystem's content."""

    def __init__(self) -> None:
        self.status = "ok"
        self.writes: list[str] = []
        self.top = Node("", None)
        self._fill(self.top, monitors=True)
        self.top.add("writes", lambda: "".join(self.writes))
        info = self.top.add("info")
        info.add("last_cmd_status", lambda: self.status + "\n")
        for resource, facts in (
            ("L3", {"cbm_mask": "7ff", "min_cbm_bits": "1", "num_closids": str(CLASSES)}),
            ("MB", {"bandwidth_gran": "10", "delay_linear": "1", "min_bandwidth": "10", "num_closids": str(CLASSES)}),
        ):
            about = info.add(resource)
            for name, value in facts.items():
                about.add(name, lambda value=value: value + "\n")  # type: ignore[misc]
        info.add("L3_MON").add("mon_features", lambda: "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n")

    def _fill(self, group: Node, *, monitors: bool) -> None:
        group.add("tasks", lambda: "".join(task + "\n" for task in group.tasks))
        data = group.add("mon_data")
        for domain in ("00", "01"):
            figures = data.add("mon_L3_" + domain)
            for number, name in enumerate(("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")):
                figures.add(name, lambda number=number, domain=domain: f"{(number + 1) * 1000 + int(domain)}\n")  # type: ignore[misc]
        if monitors:
            group.schemata = {resource: dict(values) for resource, values in START.items()}
            group.add("schemata", lambda: _as_text(group.schemata))
            group.add("mon_groups")

    def classes(self) -> Iterator[Node]:
        yield self.top
        yield from (node for node in self.top.children.values() if node.schemata)

    def make(self, parent: Node, name: str) -> Node:
        if parent is self.top:
            if len(list(self.classes())) >= CLASSES:
                self.status = "out of CLOSIDs"
                raise OSError(errno.ENOSPC, "")
        elif parent.name == "mon_groups":
            if sum(len(node.children["mon_groups"].children) for node in self.classes()) >= MONITORS:
                raise OSError(errno.ENOSPC, "")
        else:
            raise OSError(errno.EPERM, "")
        made = parent.add(name)
        self._fill(made, monitors=parent is self.top)
        return made

    def write(self, node: Node, text: str) -> None:
        self.writes.append(f"{node.path} {text.strip()}\n")
        self.status = "ok"
        assert node.parent is not None
        if node.name == "tasks":
            self._move(node.parent, text.strip())
        elif node.name == "schemata":
            for line in text.split("\n")[:-1]:
                self._set(node.parent, line)
        else:
            raise OSError(errno.EACCES, "")

    def _move(self, group: Node, task: str) -> None:
        if group.schemata:
            for other in self.classes():
                if task in other.tasks:
                    other.tasks.remove(task)
        else:
            assert group.parent is not None and group.parent.parent is not None
            if task not in group.parent.parent.tasks:
                self.status = "Can't move task to different control group"
                raise OSError(errno.EINVAL, "")
        group.tasks.append(task)

    def _set(self, group: Node, line: str) -> None:
        resource, _, rest = line.strip().partition(":")
        for part in rest.split(";"):
            domain, _, value = part.partition("=")
            if domain not in group.schemata.get(resource, {}):
                self.status = f"Unknown or unsupported resource name '{resource}'"
                raise OSError(errno.EINVAL, "")
            group.schemata[resource][domain] = value.zfill(3) if resource == "L3" else value


def _as_text(schemata: dict[str, dict[str, str]]) -> str:
    return "".join(
        f"{resource:>6}:" + ";".join(f"{domain}={value}" for domain, value in values.items()) + "\n"
        for resource, values in schemata.items()
    )


class Server:
    """Answers the kernel's requests, one by one."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.resctrl = Resctrl()
        self.nodes: dict[int, Node] = {1: self.resctrl.top}

    def serve(self) -> None:
        """Serve until it is unmounted."""
        while True:
            try:
                request = os.read(self.device, 1 << 18)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            _, operation, unique, number, *_ = struct.unpack_from("=IIQQIIII", request)
            if operation in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                answer = self.answer(operation, self.nodes[number] if number else self.resctrl.top, request[40:])
                code = 0
            except OSError as error:
                answer, code = b"", -(error.errno or errno.EIO)
            os.write(self.device, struct.pack("=IiQ", 16 + len(answer), code, unique) + answer)

    def answer(self, operation: int, node: Node, body: bytes) -> bytes:
        if operation == 1:  # LOOKUP
            return self._entry(_child(node, body[:-1].decode()))
        if operation in (3, 4):  # GETATTR, SETATTR
            return struct.pack("=QII", 0, 0, 0) + self._attributes(node)
        if operation == 9:  # MKDIR
            name = body[8:-1].decode()
            if name in node.children:
                raise OSError(errno.EEXIST, "")
            return self._entry(self.resctrl.make(node, name))
        if operation == 11:  # RMDIR
            _child(node, body[:-1].decode())
            del node.children[body[:-1].decode()]
            return b""
        if operation in (14, 27):  # OPEN, OPENDIR
            return struct.pack("=QII", 0, DIRECT_IO, 0)
        if operation == 15:  # READ
            _, offset, size = struct.unpack_from("=QQI", body)
            return (node.content() if node.content else "").encode()[offset : offset + size]
        if operation == 16:  # WRITE
            size = struct.unpack_from("=QQI", body)[2]
            self.resctrl.write(node, body[40 : 40 + size].decode())
            return struct.pack("=II", size, 0)
        if operation == 17:  # STATFS
            return bytes(80)
        if operation == 26:  # INIT
            return struct.pack("=IIIIHHIIHHI7I", 7, 31, 1 << 16, 0, 8, 8, 1 << 16, 1, 0, 0, 0, *([0] * 7))
        if operation == 28:  # READDIR
            return self._entries(node, *struct.unpack_from("=QQI", body)[1:])
        if operation in (18, 25, 29, 34, DESTROY):  # RELEASE, FLUSH, RELEASEDIR, ACCESS
            return b""
        raise OSError(errno.ENOSYS, "")

    def _number(self, node: Node) -> int:
        if node is self.resctrl.top:
            return 1
        self.nodes[id(node)] = node
        return id(node)

    def _attributes(self, node: Node) -> bytes:
        mode = stat.S_IFREG | 0o644 if node.content else stat.S_IFDIR | 0o755
        return struct.pack("=QQQQQQIIIIIIIIII", self._number(node), 0, 0, 0, 0, 0, 0, 0, 0, mode, 2, 0, 0, 0, 4096, 0)

    def _entry(self, node: Node) -> bytes:
        return struct.pack("=QQQQII", self._number(node), 0, 0, 0, 0, 0) + self._attributes(node)

    def _entries(self, node: Node, offset: int, size: int) -> bytes:
        found = b""
        for index, child in list(enumerate(node.children.values()))[offset:]:
            name = child.name.encode()
            entry = struct.pack("=QQII", self._number(child), index + 1, len(name), 8 if child.content else 4) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _child(node: Node, name: str) -> Node:
    try:
        return node.children[name]
    except KeyError:
        raise OSError(errno.ENOENT, "") from None


def main(point: str) -> None:
    """Mount it, print a line once it is mounted, and serve until it is unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"resctrl", os.fsencode(point), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    Server(device).serve()


if __name__ == "__main__":
    main(sys.argv[1])
