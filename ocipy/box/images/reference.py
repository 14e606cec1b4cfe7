"""What the command line's IMAGE means. Pure, except that it checks for a file or directory of that name."""

from __future__ import annotations

import os
from typing import NamedTuple

from ocipy import Error

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.bz2")


class Reference(NamedTuple):
    """kind: "busybox", "directory", "tar", "oci", "docker-archive" or "registry".

    source: a path, or skopeo's name. name: the image's name in the store; "" for a directory, which is used in place.
    """

    kind: str
    source: str
    name: str

    @property
    def transport(self) -> str:
        """The source in skopeo(1)'s form."""
        return {"oci": "oci:", "docker-archive": "docker-archive:", "registry": "docker://"}[self.kind] + self.source

    def pinned(self, digest: str) -> str:
        """The same for the manifest with this digest, if it comes from a registry: the tag may move in the meantime."""
        if self.kind != "registry" or "@" in self.source:
            return self.transport
        place, colon, tag = self.source.rpartition(":")
        return f"docker://{place if colon and '/' not in tag else self.source}@{digest}"

    def flags(self, without_tls: str) -> list[str]:
        """skopeo's flags for it. without_tls: its flag for a registry that may do without TLS."""
        return [without_tls] if self.is_local_registry else []

    @property
    def is_local_registry(self) -> bool:
        """Whether the registry is on this machine, where TLS is optional, as for docker and podman."""
        if self.kind != "registry":
            return False
        host = self.source.partition("/")[0]
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        import ipaddress

        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def parse(word: str) -> Reference:
    """Parse IMAGE. Raises Error if it cannot name an image."""
    kind, colon, rest = word.partition(":")
    if colon and kind in ("oci", "docker-archive"):
        path, tag_colon, tag = rest.partition(":")
        if not path:
            raise Error(f"{kind}: takes a path, as in {kind}:/srv/image", status=2)
        path = os.path.abspath(path)
        if not os.path.exists(path):
            raise Error(f"there is no image at {path}", hint=f"{kind}: takes what `skopeo copy` writes to {kind}:PATH")
        source = path + (tag_colon + tag if tag else "")
        return Reference(kind, source, f"{kind}:{source}")
    if colon and kind == "docker" and rest.startswith("//"):
        return parse(rest[2:])
    if word.startswith(("/", "./", "../")) or word in (".", ".."):
        return _of_path(word)
    if word.endswith(ARCHIVES) or ("/" not in word and os.path.isdir(word) and word != "busybox"):
        return _of_path(word)
    if word == "busybox":
        return Reference("busybox", "", word)
    return Reference("registry", full_name(word), short_name(word))


def _of_path(word: str) -> Reference:
    path = os.path.realpath(word)
    if os.path.isdir(path):
        return Reference("directory", path, "")
    if not os.path.exists(path):
        hint = "IMAGE takes a directory, or a tar archive of a root filesystem"
        raise Error(f"there is no image at {path}", hint=hint)
    return Reference("tar", path, os.path.basename(path))


def names_of(word: str) -> list[str]:
    """The names that an image may have in the store if it came from this word, which need not exist any more."""
    kind, colon, rest = word.partition(":")
    if colon and kind in ("oci", "docker-archive"):
        path, tag_colon, tag = rest.partition(":")
        return [word, f"{kind}:{os.path.abspath(path)}{tag_colon}{tag}"]
    try:
        return [word, os.path.basename(word), short_name(word.removeprefix("docker://"))]
    except Error:
        return [word, os.path.basename(word)]


def full_name(word: str) -> str:
    """The full name with docker's default registry, path and tag: "alpine" is docker.io/library/alpine:latest.

    Raises Error for a name that no registry can have.
    """
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]"
    if not word or word.startswith("-") or any(letter not in allowed for letter in word):
        raise Error(
            f"{word!r} does not name an image",
            hint="use busybox, a path, oci:…, docker-archive:…, or a name in a registry",
            status=2,
        )
    first, slash, rest = word.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", word if slash else "library/" + word
    if "@" not in rest and ":" not in rest.rpartition("/")[2]:
        rest += ":latest"
    return f"{first}/{rest}"


def short_name(word: str) -> str:
    """The name as people write it: without docker.io/library, with a tag."""
    return full_name(word).removeprefix("docker.io/").removeprefix("library/")
