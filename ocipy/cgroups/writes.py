"""Build a list of writes to control files."""

from __future__ import annotations

from ocipy.errors import in_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Required, TypedDict, Unpack

    class WriteOptions(TypedDict, total=False):
        """The options of Cgroup.write."""

        other_file: str
        other_value: str
        optional: bool
        defer: str
        resume: bool
        verify: bool

    class Write(WriteOptions):
        """The arguments of Cgroup.write."""

        controller: Required[str]
        file: Required[str]
        value: Required[str]

    class Check(TypedDict):
        """The arguments of Cgroup.check_memory."""

        limit: int
        swap: int

    # The step's name, the JSON pointer of its field, and its arguments.
    Action = tuple[Literal["cgroup_write"], str, Write] | tuple[Literal["cgroup_check_memory"], str, Check]


class Writes:
    """Collects actions. base: prefix of the fields' JSON pointers.

    actions, unified: shared with everything that `below` returns. unified: the v2 controllers to enable.
    """

    __slots__ = ("actions", "base", "unified")

    def __init__(self, base: str) -> None:
        self.base = base
        self.actions: list[Action] = []
        self.unified: set[str] = set()

    def below(self, name: str) -> Writes:
        """Return the same list, with the base for the fields of a member."""
        inner = Writes(self.base + "/" + name)
        inner.actions = self.actions
        inner.unified = self.unified
        return inner

    def add(self, field: str, controller: str, file: str, value: object, **options: Unpack[WriteOptions]) -> None:
        """Add a write for the field of that name. controller: v1's, or "" for v2. options: those of Cgroup.write."""
        self.add_at(self.base + "/" + field, controller, file, value, **options)

    def add_at(self, pointer: str, controller: str, file: str, value: object, **options: Unpack[WriteOptions]) -> None:
        """Add a write, given the complete pointer."""
        write: Write = {"controller": controller, "file": file, "value": str(value), **options}
        self.actions.append(("cgroup_write", pointer, write))

    def check(self, field: str, **arguments: Unpack[Check]) -> None:
        """Add a check that memory usage is below a limit."""
        self.actions.append(("cgroup_check_memory", self.base + "/" + field, arguments))


def value_in_words(file: str, value: str) -> str:
    """Return a control file's value for people to read: with its unit if it is a size."""
    v2 = file.startswith(("memory.", "hugetlb.")) and file.endswith((".max", ".low", ".high", ".min"))
    digits = value.strip("'")
    return in_bytes(int(digits)) if (v2 or file.endswith("_in_bytes")) and digits.isdigit() else value
