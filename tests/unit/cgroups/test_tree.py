"""Creating, joining, limiting and removing cgroups, in a directory that looks like a cgroup filesystem."""

from __future__ import annotations

import errno
import os
import posix
from pathlib import Path

import pytest

from ocipy.cgroups import creation, files, freezer
from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.ending import remove
from ocipy.cgroups.layout import Layout
from ocipy.errors import Error

CONTROL = {
    "v2": {
        "cgroup.controllers": "cpu memory pids",
        "cgroup.subtree_control": "",
        "cgroup.procs": "",
        "cgroup.type": "domain\n",
        "cgroup.events": "populated 0\nfrozen 0\n",
        "cgroup.freeze": "0\n",
        "memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 1\n",
    },
    "cpuset": {"cgroup.procs": "", "cpuset.cpus": "", "cpuset.mems": "", "tasks": ""},
    "freezer": {"cgroup.procs": "", "freezer.state": "THAWED\n", "freezer.self_freezing": "0\n", "tasks": ""},
    "memory": {"cgroup.procs": "", "memory.oom_control": "under_oom 0\noom_kill 4\n", "tasks": ""},
}


class Tree:
    """A fake cgroup filesystem: a new directory gets the control files of its kind."""

    def __init__(self, path: Path, kind: str, patch: pytest.MonkeyPatch) -> None:
        self.path = path / kind
        self.kind = kind
        self.made: list[str] = []
        self.refuse: dict[str, int] = {}
        real_mkdir, real_rmdir = posix.mkdir, posix.rmdir
        patch.setattr(posix, "mkdir", lambda name, mode=0o777: self._mkdir(real_mkdir, name, mode))
        patch.setattr(posix, "rmdir", lambda name, dir_fd=None: self._rmdir(real_rmdir, name, dir_fd))
        real_mkdir(str(self.path))
        self.fill(self.path)

    def _mkdir(self, real: object, name: str, mode: int) -> None:
        if name.startswith(str(self.path) + "/"):
            if name in self.refuse and Path(name).parent.exists():
                raise OSError(self.refuse[name], os.strerror(self.refuse[name]))
            real(name, mode)  # type: ignore[operator]
            self.made.append(name)
            self.fill(Path(name))
        else:
            real(name, mode)  # type: ignore[operator]

    def _rmdir(self, real: object, name: str, directory: int | None) -> None:
        """rmdir removes a cgroup with its control files, but not with child cgroups."""
        if directory is not None:
            name = os.readlink(f"/proc/self/fd/{directory}") + "/" + name
        if name.startswith(str(self.path) + "/") and not any(entry.is_dir() for entry in Path(name).glob("*")):
            for entry in Path(name).glob("*"):
                entry.unlink()
        real(name)  # type: ignore[operator]

    def fill(self, directory: Path) -> None:
        for name, text in CONTROL[self.kind].items():
            (directory / name).write_text(text)

    def text(self, path: str) -> str:
        return (self.path / path).read_text()


@pytest.fixture
def v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, "v2", monkeypatch)


def layout_v2(tree: Tree, own: str = "/own/scope") -> Layout:
    return Layout({}, str(tree.path), {"": own})


def make(layout: Layout, wanted: str, **options: object) -> Cgroup:
    cgroup = creation.locate(layout, wanted, "id")
    creation.make_cgroup(cgroup, layout, **options)  # type: ignore[arg-type]
    return cgroup


def test_locate_makes_nothing_and_knows_what_is_missing(v2: Tree) -> None:
    (v2.path / "a").mkdir()
    cgroup = creation.locate(layout_v2(v2), "/a/b/c", "id")
    assert cgroup.paths == {"": f"{v2.path}/a/b/c"}
    assert cgroup.created == [f"{v2.path}/a/b", f"{v2.path}/a/b/c"]
    assert v2.made == []


def test_default_is_next_to_our_own(v2: Tree) -> None:
    (v2.path / "own").mkdir()
    assert creation.locate(layout_v2(v2), "", "id").paths == {"": f"{v2.path}/own/id"}


def test_make_and_remove_leave_nothing(v2: Tree) -> None:
    cgroup = make(layout_v2(v2), "/a/b")
    assert cgroup.created == [f"{v2.path}/a", f"{v2.path}/a/b"] == v2.made
    remove(cgroup)
    assert not (v2.path / "a").exists()
    remove(cgroup)


def test_existing_cgroups_stay(v2: Tree) -> None:
    for name in ("a", "a/b"):
        (v2.path / name).mkdir()
        v2.fill(v2.path / name)
    cgroup = make(layout_v2(v2), "/a/b")
    assert cgroup.created == []
    remove(cgroup)
    assert (v2.path / "a/b").is_dir()


def test_a_parent_with_others_in_it_stays(v2: Tree) -> None:
    first, second = make(layout_v2(v2), "/a/1"), make(layout_v2(v2), "/a/2")
    remove(first)
    assert (v2.path / "a/2").is_dir() and not (v2.path / "a/1").exists()
    remove(second)
    assert (v2.path / "a").is_dir(), "the second did not make it"


def test_cgroups_that_the_container_made_are_removed_too(v2: Tree) -> None:
    cgroup = make(layout_v2(v2), "/a/b")
    for name in ("sub", "sub/deep", "other"):
        posix.mkdir(f"{v2.path}/a/b/{name}")
    remove(cgroup)
    assert not (v2.path / "a").exists()


def test_parent_that_vanishes_is_made_again(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another container's delete removes the empty parent between our two mkdirs."""
    mkdir = posix.mkdir
    raced: list[str] = []

    def racing(name: str, mode: int) -> None:
        if name.endswith("/a/b") and (v2.path / "a").exists() and not raced:
            raced.append(name)
            posix.rmdir(f"{v2.path}/a")
        mkdir(name, mode)

    monkeypatch.setattr(posix, "mkdir", racing)
    cgroup = make(layout_v2(v2), "/a/b")
    assert raced and cgroup.created == [f"{v2.path}/a", f"{v2.path}/a/b"]


def test_controllers_are_enabled_on_the_way_down(v2: Tree) -> None:
    make(layout_v2(v2), "/a/b")
    assert v2.text("cgroup.subtree_control") == "+cpu +memory +pids"
    assert v2.text("a/cgroup.subtree_control") == "+cpu +memory +pids"
    assert v2.text("a/b/cgroup.subtree_control") == ""


def test_enabled_controllers_are_left_alone(v2: Tree) -> None:
    (v2.path / "cgroup.subtree_control").write_text("pids memory cpu\n")
    (v2.path / "cgroup.subtree_control").chmod(0o444)
    make(layout_v2(v2), "/a")
    assert v2.text("cgroup.subtree_control") == "pids memory cpu\n"


def test_only_what_is_missing_is_enabled(v2: Tree) -> None:
    layout = layout_v2(v2)
    (v2.path / "cgroup.controllers").write_text("cpu memory pids rdma")
    (v2.path / "cgroup.subtree_control").write_text("cpu\n")
    creation.enable_controllers(f"{v2.path}/a", layout.unified, ("cpu", "pids", "unknown"))
    assert v2.text("cgroup.subtree_control") == "+pids"


DEEP = 1500


@pytest.mark.parametrize("kind", ["v2", "cpuset"])
def test_a_path_with_as_many_components_as_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Deeper than Python's stack (and than pytest can remove)."""
    monkeypatch.setattr(Tree, "fill", lambda *_: None)
    tree = Tree(tmp_path, kind, monkeypatch)
    contents = {str(tree.path / name): "0-1\n" for name in ("cpuset.cpus", "cpuset.mems")}
    contents[str(tree.path / "cgroup.controllers")] = "cpu"
    path = str(tree.path) + "/a" * DEEP
    made = files.make_directory(path, str(tree.path))
    for directory in reversed(made):
        os.rmdir(directory)
    assert made == [str(tree.path) + "/a" * (depth + 1) for depth in range(DEEP)]
    monkeypatch.setattr(files, "read", lambda name: contents.get(name, "cpu" if "controllers" in name else ""))
    monkeypatch.setattr(files, "write", contents.__setitem__)
    if kind == "v2":
        creation.enable_controllers(path, str(tree.path), ("cpu",))
        assert sum(value == "+cpu" for value in contents.values()) == DEEP
    else:
        creation.fill_cpuset(path, str(tree.path))
        assert contents[path + "/cpuset.cpus"] == contents[path + "/cpuset.mems"] == "0-1"
        assert len(contents) == 2 * (DEEP + 1) + 1


def test_controllers_one_by_one_if_all_at_once_are_refused(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def write(path: str, value: str) -> None:
        written.append(value)
        if "cpu" in value:
            raise OSError(errno.EINVAL, "realtime tasks")

    monkeypatch.setattr(files, "write", write)
    creation.enable_controllers(f"{v2.path}/a", str(v2.path), ("cpu", "pids"))
    assert written == ["+cpu +pids", "+cpu", "+pids"]


def test_hybrid_enables_only_what_is_needed(v2: Tree) -> None:
    layout = Layout({"pids": str(v2.path)}, str(v2.path), {"pids": "/", "": "/"})
    assert layout.controllers == ("pids", "unified:cpu", "unified:memory", "unified:pids")
    make(layout, "/a")
    assert v2.text("cgroup.subtree_control") == ""
    make(layout, "/b", enable=("memory",))
    assert v2.text("cgroup.subtree_control") == "+memory"


def test_threaded_cgroup(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTROL["v2"], "cgroup.type", "domain invalid\n")
    with pytest.raises(Error, match="domain invalid"):
        make(layout_v2(v2), "/a", domain=True)
    cgroup = make(layout_v2(v2), "/b", domain=False)
    assert v2.text("b/cgroup.type").startswith("threaded")
    remove(cgroup)


def test_the_type_of_a_new_cgroup_follows_from_its_parent(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that no threaded cgroup can have is enabled there."""
    monkeypatch.setitem(CONTROL["v2"], "cgroup.type", "not read\n")
    (v2.path / "cgroup.subtree_control").write_text("memory\n")
    remove(make(layout_v2(v2), "/a"))
    (v2.path / "cgroup.subtree_control").write_text("cpu pids\n")
    with pytest.raises(Error, match="not read"):
        make(layout_v2(v2), "/a")


def test_cgroup_of_another_container_is_refused(v2: Tree) -> None:
    make(layout_v2(v2), "/a")
    (v2.path / "a/cgroup.procs").write_text("1\n2\n")
    with pytest.raises(Error, match="container's cgroup is not empty: 2 process"):
        make(layout_v2(v2), "/a")


def test_processes_below_count_too(v2: Tree) -> None:
    cgroup = make(layout_v2(v2), "/a")
    posix.mkdir(f"{v2.path}/a/sub")
    (v2.path / "a/sub/cgroup.procs").write_text("7\n")
    (v2.path / "a/cgroup.procs").write_text("1\n2\n")
    assert sorted(cgroup.processes()) == [1, 2, 7]
    with pytest.raises(Error, match="not empty: 3"):
        make(layout_v2(v2), "/a")


def test_frozen_cgroup_is_refused(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a new one: below a frozen cgroup, the join would hang."""
    monkeypatch.setitem(CONTROL["v2"], "cgroup.events", "populated 0\nfrozen 1\n")
    with pytest.raises(Error, match="container's cgroup unexpectedly frozen"):
        make(layout_v2(v2), "/a")
    cgroup = make(layout_v2(v2), "/b", frozen=False)
    with pytest.raises(Error, match="container's cgroup unexpectedly frozen"):
        creation.refuse_frozen(cgroup)


def test_refused_mkdir(v2: Tree) -> None:
    v2.refuse[f"{v2.path}/a"] = errno.EACCES
    cgroup = creation.locate(layout_v2(v2), "/a", "id")
    with pytest.raises(Error) as caught:
        creation.make_cgroup(cgroup, layout_v2(v2))
    assert caught.value.errno == errno.EACCES and cgroup.created == []
    # Rootless without cgroupsPath: the container gets no cgroup.
    assert make(layout_v2(v2), "/a", tolerant=True).paths == {}


def test_limits_without_a_cgroup() -> None:
    with pytest.raises(Error, match=r"cannot set memory\.max"):
        Cgroup("v2", {}, []).write("", "memory.max", "1")


@pytest.mark.parametrize(
    ("file", "number", "hint"),
    [
        ("cpuset.cpus", errno.ERANGE, "does not have this CPU"),
        ("cpuset.mems", errno.EACCES, "the parent cgroup"),
        ("memory.limit_in_bytes", errno.EBUSY, "above the current usage"),
        ("hugetlb.3MB.max", errno.ENOENT, "/sys/kernel/mm/hugepages"),
        ("pids.max", errno.ENOENT, "cgroup.controllers"),
        ("pids.max", errno.EACCES, "on the path denies it"),
    ],
)
def test_a_refused_limit_tells_the_likely_cause(
    v2: Tree, monkeypatch: pytest.MonkeyPatch, file: str, number: int, hint: str
) -> None:
    def refuse(_path: str, _value: str) -> None:
        raise OSError(number, "x")

    monkeypatch.setattr(files, "write", refuse)
    with pytest.raises(Error) as caught:
        Cgroup("v2", {"": str(v2.path)}, []).write("", file, "1")
    assert hint in caught.value.hint


def test_failure_half_way_names_what_it_made(v2: Tree) -> None:
    v2.refuse[f"{v2.path}/a/b"] = errno.EDQUOT
    cgroup = creation.locate(layout_v2(v2), "/a/b", "id")
    with pytest.raises(Error):
        creation.make_cgroup(cgroup, layout_v2(v2))
    assert cgroup.created == [f"{v2.path}/a"]
    remove(cgroup)
    assert not (v2.path / "a").exists()


def test_state_round_trip(v2: Tree) -> None:
    cgroup = make(layout_v2(v2), "/a")
    again = Cgroup.from_state(cgroup.to_state())
    assert (again.mode, again.paths, again.created) == (cgroup.mode, cgroup.paths, cgroup.created)


def test_co_mounted_controllers() -> None:
    cgroup = Cgroup("v1", {"cpu,cpuacct": "/x", "name=systemd": "/y", "": "/z"}, [])
    assert [cgroup.path_of(name) for name in ("cpu", "cpuacct", "systemd", "memory", "")] == ["/x", "/x", "", "", "/z"]


def test_oom_kills(v2: Tree) -> None:
    assert make(layout_v2(v2), "/a").oom_kills() == 2
    assert Cgroup("v2", {"": "/nowhere"}, []).oom_kills() == 0


def test_oom_kills_of_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path, "memory", monkeypatch)
    assert Cgroup("v1", {"memory": str(tree.path)}, []).oom_kills() == 4


def test_cpuset_is_filled_from_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path, "cpuset", monkeypatch)
    (tree.path / "cpuset.cpus").write_text("0-3\n")
    (tree.path / "cpuset.mems").write_text("0\n")
    layout = Layout({"cpuset": str(tree.path)}, "", {"cpuset": "/"})
    make(layout, "/a/b")
    assert [tree.text(f"{name}/cpuset.{file}") for name in ("a", "a/b") for file in ("cpus", "mems")] == [
        "0-3",
        "0",
        "0-3",
        "0",
    ]
    (tree.path / "a/cpuset.cpus").write_text("2\n")
    make(layout, "/a/c")
    assert tree.text("a/c/cpuset.cpus") == "2"


def test_freezer_of_v1_tells_its_own_state_from_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path, "freezer", monkeypatch)
    cgroup = make(Layout({"freezer": str(tree.path)}, "", {"freezer": "/"}), "/a")
    assert not freezer.is_frozen(cgroup.paths)
    (tree.path / "a/freezer.state").write_text("FROZEN\n")
    assert not freezer.is_frozen(cgroup.paths), "only one above it is frozen"
    (tree.path / "a/freezer.self_freezing").write_text("1\n")
    assert freezer.is_frozen(cgroup.paths)
    cgroup.thaw()
    assert tree.text("a/freezer.state") == "THAWED\n"[:6] + "\n"
    Cgroup("v1", {"freezer": "/nowhere"}, []).thaw()


def test_freezer_of_v2(v2: Tree) -> None:
    cgroup = make(layout_v2(v2), "/a")
    (v2.path / "a/cgroup.events").write_text("populated 1\nfrozen 1\n")
    freezer.freeze(cgroup.paths)
    assert v2.text("a/cgroup.freeze").startswith("1") and freezer.is_frozen(cgroup.paths)
    cgroup.thaw()
    assert not freezer.is_frozen(cgroup.paths)


def test_delegate_gives_only_what_may_be_delegated(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroup = make(layout_v2(v2), "/a")
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(posix, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    monkeypatch.setattr(creation, "DELEGATE", str(v2.path / "nothing"))
    creation.delegate(cgroup, 1000)
    assert [path.removeprefix(f"{v2.path}/a") for path, _, _ in given] == [
        "",
        "/cgroup.procs",
        "/cgroup.subtree_control",
        "/cgroup.threads",
    ]
    assert {(uid, gid) for _, uid, gid in given} == {(1000, -1)}


def test_delegate_skips_files_of_the_kernels_list_that_are_missing(v2: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """config-linux.md: MUST NOT fail for a file in the list that this cgroup lacks."""
    cgroup = make(layout_v2(v2), "/a")
    (v2.path / "delegate").write_text("cgroup.procs\nmemory.nothing\nmemory.oom.group\n")
    (v2.path / "a/memory.oom.group").write_text("0\n")
    given: list[str] = []

    def chown(path: str, uid: int, gid: int) -> None:
        os.stat(path)
        given.append(path)

    monkeypatch.setattr(posix, "chown", chown)
    monkeypatch.setattr(creation, "DELEGATE", str(v2.path / "delegate"))
    creation.delegate(cgroup, 1000)
    assert [path.removeprefix(f"{v2.path}/a") for path in given] == ["", "/cgroup.procs", "/memory.oom.group"]
