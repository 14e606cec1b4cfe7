"""Rules for the mounts of a config.json beyond the schema: those across fields, and what may never be mounted.

init/mounts.py checks again where a path actually leads.
"""

from __future__ import annotations

from ocipy.config.mount_options import CGROUP_TYPES, parse_idmap, read_mounts
from ocipy.config.semantic_linux import are_paired, id_map
from ocipy.linux.paths import ALLOWED_IN_PROC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.mount_options import MountEntry
    from ocipy.config.types import Config

    Findings = list[tuple[str, str]]

CONTEXT_TYPE = "run.oci.mount_context_type"
CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")
"""SELinux's mount options, of which crun's annotation selects one; podman sets it."""


def errors(config: Config, spaces: dict[str, str], found: Findings) -> None:
    """Append every broken rule. spaces: from semantic_linux.namespaces."""
    linux = config.get("linux") or {}
    for mount in read_mounts(config):
        given = mount.given
        if mount.options.idmap or given.get("uidMappings") or given.get("gidMappings"):
            _mappings(config, mount, spaces, found)
        pointer, destination = mount.pointer, mount.destination
        if not given["destination"]:
            found.append((pointer + "/destination", "must not be empty"))
        elif destination == "/":
            _on_root(mount, spaces, found)
        elif destination.startswith("/proc/") and destination not in ALLOWED_IN_PROC:
            allowed = " ".join(path.removeprefix("/proc/") for path in ALLOWED_IN_PROC)
            text = f"{destination} cannot be mounted because it is inside /proc, where only lxcfs may mount: {allowed}"
            found.append((pointer + "/destination", text))
        if mount.is_remount:
            continue
        if mount.is_bind:
            _bind(mount, found)
        else:
            _filesystem(mount, found)
    context = (config.get("annotations") or {}).get(CONTEXT_TYPE)
    if context and linux.get("mountLabel") and context not in CONTEXTS:
        text = f"unknown type of SELinux context {context!r}, not one of {', '.join(CONTEXTS)}"
        found.append(("/annotations/" + CONTEXT_TYPE, text))


def _on_root(mount: MountEntry, spaces: dict[str, str], found: Findings) -> None:
    """A mount on "/" becomes the root for everything that follows, for example an overlay with root.path below it."""
    options = mount.options
    if spaces.get("mount") != "":
        text = "other processes would lose their root; add the namespace, or use root.path"
        text = "cannot mount on the container's root itself without a new mount namespace: " + text
    elif mount.is_remount:
        text = "cannot remount the container's root: root.readonly makes it read-only"
    elif options.copy_symlink or options.target_nofollow or mount.fstype in CGROUP_TYPES:
        text = "this cannot be mounted on the container's root itself"
    elif not mount.is_bind and options.needs_mount2:
        text = "fsconfig(2) takes one option per word, of up to 255 bytes, and no iversion"
        text = "cannot mount on the container's root itself with such options: " + text
    else:
        return
    found.append((mount.pointer + "/destination", text))


def _bind(mount: MountEntry, found: Findings) -> None:
    options, pointer = mount.options, mount.pointer
    if not mount.given.get("source"):
        found.append((pointer + "/source", "a bind mount needs a source"))
    if options.copy_symlink and (options.source_nofollow or options.target_nofollow):
        found.append((pointer + "/options", "copy-symlink cannot be combined with src-nofollow or dest-nofollow"))


def _filesystem(mount: MountEntry, found: Findings) -> None:
    fstype, pointer = mount.fstype, mount.pointer
    if not fstype or fstype == "none":
        found.append((pointer + "/type", "a mount needs a type, or bind or rbind among its options"))
    elif mount.destination == "/proc" and fstype not in ("proc", *CGROUP_TYPES):
        found.append((pointer + "/type", "only a procfs can be mounted on /proc"))
    if mount.options.copy_up and fstype != "tmpfs":
        found.append((pointer + "/options", "tmpcopyup is for tmpfs only"))


def _mappings(config: Config, mount: MountEntry, spaces: dict[str, str], found: Findings) -> None:
    options, pointer = mount.options, mount.pointer
    uids, gids = mount.given.get("uidMappings"), mount.given.get("gidMappings")
    if uids and gids:
        id_map(uids, pointer + "/uidMappings", found)
        id_map(gids, pointer + "/gidMappings", found)
    elif are_paired(uids, gids, pointer, found) and "user" not in spaces:
        for number, option in enumerate(mount.given.get("options") or ()):
            if option == "idmap" or option == "ridmap":
                text = f"{option} needs uidMappings and gidMappings, or a user namespace"
                found.append((f"{pointer}/options/{number}", text))
    if (options.idmap or uids or gids) and mount.fstype and not mount.is_bind:
        found.append((pointer + "/options", "only a bind mount can have mapped ids"))
    elif options.idmap_text and not uids:
        linux = config.get("linux") or {}
        own = (linux.get("uidMappings") or (), linux.get("gidMappings") or ()) if "user" in spaces else ((), ())
        try:
            parse_idmap(options.idmap_text, {"uids": own[0], "gids": own[1]})
        except ValueError as error:
            found.append((pointer + "/options", str(error)))
