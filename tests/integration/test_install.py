"""make install and uninstall, in a test prefix; and files that an installed runtime refuses to load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.integration.installation import PATIENCE, Installation, makers

TOP = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.ocipy_only(reason="its own installation")


def make(target: str, *variables: str) -> str:
    """make TARGET without a network: the packages are in the checkout's environment. Return its output."""
    offline = ["unshare", "--net"] if os.geteuid() == 0 else []
    command = [*offline, "make", "-s", "-C", str(TOP), target, *variables]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A prefix with ocipy installed; afterwards uninstalls it, and checks that."""
    place = tmp_path_factory.mktemp("prefix") / "a prefix é"
    said = make("install", f"PREFIX={place}", f"ENGINES_CONF={place}/conf.d/ocipy.conf")
    for line in ("packages: ", "building: ", "environment: ", "podman: ", f"installed: {place}/bin/ocipy"):
        assert line in said
    yield place
    make("uninstall", f"PREFIX={place}")
    assert list(place.parent.iterdir()) == []


def call(prefix: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed runtime, called with an empty environment from another directory."""
    command = [str(prefix / "bin/ocipy"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env={}, timeout=60)


@pytest.fixture
def frozen(prefix: Path) -> Iterator[Path]:
    """The installation's frozen file, which the test may damage, without a snapshot; restored afterwards."""
    (file,) = prefix.rglob("_frozen.bin")
    kept, snapshot = file.with_name("kept"), file.with_name("_snapshot.bin")
    installed = Installation(prefix / "lib/ocipy")
    shutil.copy2(file, kept)
    snapshot.rename(file.with_name("kept_snapshot"))
    yield file
    wait_until(lambda: not makers(installed), "the process that makes a snapshot", PATIENCE)
    kept.replace(file)
    file.with_name("kept_snapshot").rename(snapshot)


@pytest.mark.needs_program("strace")
def test_a_copy_of_it_does_not_start_from_the_snapshot_of_the_original(prefix: Path, tmp_path: Path) -> None:
    """It would import missing modules from the original's place, which an attacker may own by then."""
    copy = tmp_path / "copy"
    shutil.copytree(prefix / "lib/ocipy", copy, symlinks=True)
    copied = Installation(copy)
    mapped = []
    for place in (prefix / "lib/ocipy", copy):
        command = ["strace", "-e", "trace=mmap", str(place / "bin/ocipy"), "state", "nobody"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, env={}).stderr
        assert "container does not exist" in said
        mapped.append("mmap(0x1000000000," in said)  # the place of a snapshot's heap: heap.c
    wait_until(lambda: not makers(copied), "the process that makes the copy's own", PATIENCE)
    assert mapped == [True, False]


def test_the_installed_runtime_runs_from_its_own_environment(prefix: Path) -> None:
    assert (prefix / "bin/ocipy").is_symlink()
    assert call(prefix, "--version").stdout.startswith("ocipy version ")
    for words in (["--help"], ["state", "--help"]):  # hot and cold modules
        assert "usage:" in call(prefix, *words).stdout
    strange = call(prefix, "run", "--bundle", "/nonexistent", "name")
    assert strange.returncode == 1
    assert strange.stderr.startswith("ocipy: run name: /nonexistent: ")


def test_the_environment_has_what_ocipy_needs_and_nothing_else(prefix: Path) -> None:
    assert sorted(os.listdir(prefix / "lib/ocipy/bin")) == ["ocipy", "python", "python3"]
    (site,) = prefix.glob("lib/ocipy/lib/python*/site-packages")
    there = set(os.listdir(site))
    assert {"ocipy", "jsonschema", "pyroute2", "rich", "prctl.py"} <= there
    assert not there & {"pip", "setuptools", "wheel", "mesonpy", "mypy"}
    assert call(prefix, "--version").stdout.splitlines()[-1] == "start: snapshot"


def test_a_package_is_made_below_destdir(tmp_path: Path) -> None:
    """Everything below it, also podman's file, since /usr is the system's prefix; and gone afterwards."""
    place = tmp_path / "a dest é"
    variables = (f"DESTDIR={place}", "PREFIX=/usr")
    before = Path("/etc/containers/containers.conf.d").exists()
    make("install", *variables)
    assert Path("/etc/containers/containers.conf.d").exists() == before
    conf = place / "etc/containers/containers.conf.d/ocipy.conf"
    assert 'ocipy = ["/usr/bin/ocipy"]' in conf.read_text()
    assert os.readlink(place / "usr/bin/ocipy") == "../lib/ocipy/bin/ocipy"
    binaries = [path for path in place.rglob("*") if path.is_file() and str(place).encode() in path.read_bytes()]
    assert binaries == [], "nothing names the directory that it is packed from"
    assert call(place / "usr", "--version").stdout.startswith("ocipy version ")
    installed = Installation(place / "usr/lib/ocipy")
    wait_until(lambda: not makers(installed), "the process that makes a snapshot", PATIENCE)
    make("uninstall", *variables)
    assert not place.exists() or list(place.iterdir()) == []


def test_uninstalling_leaves_another_installation_s_files(prefix: Path, tmp_path: Path) -> None:
    """The same file for podman, which names the other one; files of others in our directories."""
    conf = tmp_path / "ocipy.conf"
    place = tmp_path / "place"
    fake = place / "lib/ocipy"
    (place / "bin").mkdir(parents=True)
    fake.mkdir(parents=True)
    conf.write_text(f'[engine.runtimes]\nocipy = ["{prefix}/bin/ocipy"]\n')
    (place / "bin/ocipy").symlink_to("/somewhere/else")
    files = [str(place / "bin/ocipy"), str(conf)]
    (fake / "installed.json").write_text(
        json.dumps({"prefix": str(place), "files": files, "directories": [str(place / "bin"), str(place / "lib")]})
    )
    said = make("uninstall", f"PREFIX={place}")
    assert conf.exists()
    assert (place / "bin/ocipy").is_symlink()
    assert f"kept: {conf}, which something else has replaced" in said
    assert not (place / "lib").exists()
    assert "nothing to remove" in make("uninstall", f"PREFIX={place}")


def test_an_installation_that_is_cut_short_can_be_removed(tmp_path: Path) -> None:
    """Here by a file in the place of the directory of podman's file, which comes last."""
    place, taken = tmp_path / "place", tmp_path / "taken"
    taken.touch()
    with pytest.raises(AssertionError, match=r"install: .*taken"):
        make("install", f"PREFIX={place}", f"ENGINES_CONF={taken}/ocipy.conf")
    assert (place / "bin/ocipy").exists()
    (place / "lib/.ocipy.old").mkdir()
    make("uninstall", f"PREFIX={place}")
    assert not place.exists()


def test_a_record_that_a_full_disk_has_cut_short_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "lib/ocipy").mkdir(parents=True)
    record = place / "lib/ocipy/installed.json"
    for text in ("", '{"prefix": "/usr", "fil', "{}", "[]"):
        record.write_text(text)
        with pytest.raises(AssertionError, match=f"uninstall: {record} is damaged") as failure:
            make("uninstall", f"PREFIX={place}")
        assert "Traceback" not in str(failure.value)


def test_programs_can_import_it(prefix: Path) -> None:
    """With types: py.typed is installed, and a strict checker accepts the example."""
    python, example = prefix / "lib/ocipy/bin/python", TOP / "examples/one_container.py"
    checked = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--python-executable={python}",
        str(example),
    ]
    cache = ["--cache-dir", str(prefix / "mypy")]
    result = subprocess.run([*checked, *cache], capture_output=True, text=True, check=False, cwd="/", timeout=300)
    shutil.rmtree(prefix / "mypy")
    assert result.returncode == 0, result.stdout + result.stderr
    done = subprocess.run([python, example, "/bin/busybox"], capture_output=True, text=True, check=False, cwd="/")
    assert "web is running" in done.stdout, done.stderr


def test_man_pages_and_completion_are_there(prefix: Path) -> None:
    share = prefix / "share"
    assert ".SH OPTIONS" in (share / "man/man1/ocipy-create.1").read_text()
    for name in (
        "bash-completion/completions/ocipy",
        "zsh/site-functions/_ocipy",
        "fish/vendor_completions.d/ocipy.fish",
    ):
        assert "create" in (share / name).read_text()


def test_podman_is_configured(prefix: Path) -> None:
    lines = (prefix / "conf.d/ocipy.conf").read_text().splitlines()
    assert f'ocipy = ["{prefix}/bin/ocipy"]' in lines
    assert not any("runtime_supports" in line for line in lines)


def test_nothing_that_is_installed_is_writable_by_others(prefix: Path) -> None:
    paths = [path for path in (prefix / "lib/ocipy").rglob("*") if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_mode & 0o022 or path.stat().st_uid != os.getuid()] == []


def test_a_frozen_file_that_others_can_write_is_refused(prefix: Path, frozen: Path) -> None:
    frozen.chmod(0o646)
    refused = call(prefix, "state", "name")
    assert refused.returncode == 1
    assert refused.stderr == f"ocipy: refusing to load {frozen}: it is writable by others\n"


def test_a_frozen_file_of_another_user_is_refused(prefix: Path, frozen: Path) -> None:
    os.chown(frozen, 1234, 1234)
    assert "belongs to another user" in call(prefix, "state", "name").stderr


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (lambda whole: b"", "cannot be mapped"),
        (lambda whole: b"x" * 4096, "is not a file of frozen modules"),
        (lambda whole: whole[:2000], "is cut off"),
        (lambda whole: whole[:8] + b"\x01\x02\0\0" + whole[12:], "was built for another Python"),
        (lambda whole: whole[:12] + b"\xff\xff\xff\xff" + whole[16:], "is cut off"),
    ],
)
def test_a_broken_frozen_file_is_refused(prefix: Path, frozen: Path, contents: object, reason: str) -> None:
    frozen.write_bytes(contents(frozen.read_bytes()))  # type: ignore[operator]
    refused = call(prefix, "state", "name")
    assert refused.returncode == 1
    assert reason in refused.stderr


def test_a_symlink_instead_of_the_frozen_file_is_refused(prefix: Path, frozen: Path) -> None:
    frozen.unlink()
    frozen.symlink_to(frozen.with_name("kept"))
    refused = call(prefix, "state", "name").stderr
    assert refused == f"ocipy: cannot read the runtime: {frozen}: Too many levels of symbolic links\n"
