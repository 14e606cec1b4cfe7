"""-v, --mount and --tmpfs: which host directory or tmpfs appears where in a box.

Pure, except that a relative path starts at the working directory, and for make_sources.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ocipy import Error
from ocipy.box.request import Volume
from ocipy.errors import caused_by, reported_as

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
# At most one of each may be given.
CHOICES = (
    ("ro", "rw"), ("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), PROPAGATION, ("z", "Z"), ("bind", "rbind"),
)  # fmt: skip
# docker's words for caching in a virtual machine on a Mac: on Linux docker ignores them, and so do we.
CACHING = ("consistent", "cached", "delegated")
OPTIONS = tuple(word for choice in CHOICES for word in choice)
FORM = "SOURCE:DESTINATION[:OPTIONS]"
COLON = "--mount type=bind,source=SOURCE,target=DESTINATION takes a source with a colon"
# docker's and podman's for --tmpfs; the user's options follow, and win.
TMPFS = ("nosuid", "nodev", "noexec")


def parse_volume(word: str) -> Volume:
    """-v SOURCE:DESTINATION[:OPTIONS]. Raises Error, with exit status 2."""
    source, colon, rest = word.partition(":")
    destination, _, options = rest.partition(":")
    if not colon and word.startswith("/"):
        hint = f"--tmpfs {word} makes a directory in memory; {FORM} takes one of the host"
        raise Error(f"--volume {word}: anonymous volumes are not supported", hint=hint, status=2)
    if not source or not destination.startswith("/"):
        raise Error(f"--volume takes {FORM}, not {word!r}", hint=COLON if rest.count(":") else "", status=2)
    return Volume(
        _source(source, word), _destination(destination, "--volume"), _options(options.split(","), f"--volume {word}")
    )


def _source(source: str, word: str) -> str:
    """An absolute path. Refuses what docker reads as a volume's name: it would make an unwanted directory."""
    if source.startswith("~"):
        raise Error(f"--volume {word}: the shell did not expand the ~", hint="use $HOME", status=2)
    if "/" not in source and source not in (".", ".."):
        what = f"--volume {word}: named volumes are not supported"
        raise Error(what, hint=f"write ./{word} for a directory here", status=2)
    return os.path.abspath(source)


def _destination(path: str, flag: str) -> str:
    """The path, absolute and normalized, so each place has one name."""
    if not path.startswith("/") or ".." in path.split("/"):
        raise Error(f"{flag} takes an absolute path in the box, without .., not {path!r}", status=2)
    path = os.path.normpath(path).replace("//", "/")
    if path == "/":
        raise Error(f"{flag} cannot replace the box's root", hint="give the directory as IMAGE", status=2)
    return path


def _options(words: Iterable[str], place: str) -> tuple[str, ...]:
    """The options of a bind mount. Raises Error for one without effect, or one that contradicts another."""
    options = tuple(dict.fromkeys(one for one in words if one and one not in CACHING))
    for one in options:
        if one == "U":
            raise Error(
                f"{place}: U is not supported: a box does not change the owner of the host's files",
                hint="use chown",
                status=2,
            )
        if one not in OPTIONS:
            raise Error(f"{place}: unknown option {one!r}", hint="options: " + " ".join(OPTIONS), status=2)
    for choice in CHOICES:
        both = [one for one in options if one in choice]
        if len(both) > 1:
            raise Error(f"{place}: {both[0]} and {both[1]} contradict each other", status=2)
    return options


def parse_tmpfs(word: str) -> tuple[str, str]:
    """--tmpfs DESTINATION[:OPTIONS]: (destination, options). Raises Error. tmpfs itself checks the options."""
    destination, _, options = word.partition(":")
    return _destination(destination, "--tmpfs"), ",".join((*TMPFS, *(one for one in options.split(",") if one)))


def parse_mount(word: str) -> Volume | tuple[str, str]:
    """--mount NAME=VALUE,…: like -v, but the source must exist; with type=tmpfs like --tmpfs. Raises Error."""
    pairs: dict[str, str] = {}
    for one in word.split(","):
        name, equals, value = one.partition("=")
        name = ALIASES.get(name, name)
        if name not in MEMBERS:
            hint = "names: " + " ".join(MEMBERS)
            raise Error(f"--mount {word}: unknown name {name!r}", hint=hint, status=2)
        if name in pairs:
            raise Error(f"--mount {word}: {name} is given twice", status=2)
        pairs[name] = value if equals else ("true" if name == "readonly" else "")
    kind = pairs.pop("type", "")
    if kind not in ("bind", "tmpfs"):
        hint = "for example type=bind,source=/srv/data,target=/data; named volumes are not supported"
        raise Error(f"--mount takes type=bind or type=tmpfs, not {kind or 'volume'}", hint=hint, status=2)
    foreign = [name for name in pairs if name not in ("target", "readonly", *OF_KIND[kind])]
    if foreign:
        raise Error(f"--mount {word}: {foreign[0]} cannot be used with type={kind}", status=2)
    if pairs.get("readonly", "false") not in ("true", "false", "1", "0"):
        raise Error(f"--mount {word}: readonly must be true or false", status=2)
    target = _destination(pairs.get("target", ""), "--mount target=")
    options = ["ro"] if pairs.get("readonly") in ("true", "1") else []
    if kind == "tmpfs":
        options += [f"{one}={pairs[f'tmpfs-{one}']}" for one in ("size", "mode") if f"tmpfs-{one}" in pairs]
        return target, ",".join((*TMPFS, *options))
    source = pairs.get("source", "")
    if not source or source.startswith("~"):
        raise Error(f"--mount {word}: source= must be a path on the host", status=2)
    if pairs.get("bind-propagation", "rprivate") not in PROPAGATION:
        hint = "one of " + " ".join(PROPAGATION)
        raise Error(f"--mount {word}: unknown bind-propagation", hint=hint, status=2)
    options += [pairs["bind-propagation"]] if "bind-propagation" in pairs else []
    return Volume(os.path.abspath(source), target, tuple(options), must_exist=True)


ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
OF_KIND = {"bind": ("source", "bind-propagation"), "tmpfs": ("tmpfs-size", "tmpfs-mode")}
MEMBERS = ("type", "target", "readonly", *OF_KIND["bind"], *OF_KIND["tmpfs"])


def check_places(volumes: Iterable[Volume], tmpfs: Iterable[tuple[str, str]]) -> None:
    """Raise Error for two mounts at one place: the later would hide the earlier."""
    seen = set()
    for place in (*(one.destination for one in volumes), *(one[0] for one in tmpfs)):
        if place in seen:
            raise Error(f"two mounts at {place}", status=2)
        seen.add(place)


def make_sources(volumes: Iterable[Volume]) -> None:
    """Create missing source directories of -v on the host, as docker does. Raises Error."""
    for volume in volumes:
        with reported_as("--volume: cannot inspect the source", pointer=volume.source):
            try:
                os.stat(volume.source)
            except FileNotFoundError as error:
                if volume.must_exist:
                    raise caused_by(error, "--mount: there is no such source", pointer=volume.source) from None
                with reported_as("--volume: cannot create the missing source", pointer=volume.source):
                    os.makedirs(volume.source)
