"""features: what this runtime supports, for its callers (spec: features.md). Cold.

The document does not depend on the host. Every list in it is the one that the code uses.
"""

from __future__ import annotations

from typing import Any, get_args

from ocipy.config.description.values import SeccompAction, SeccompArchitecture, SeccompOperator
from ocipy.config.mount_options import MOUNT_OPTIONS
from ocipy.config.semantic import HOOK_KINDS
from ocipy.linux.capabilities import NAMES as CAPABILITIES
from ocipy.plan import scheduling, seccomp
from ocipy.plan.namespaces import CLONE_FLAGS
from ocipy.version import SPEC_VERSION, VERSION

OLDEST_SPEC_VERSION = "1.0.0"
# Annotations in a config.json that change what the runtime does.
ANNOTATIONS_WITH_EFFECT = (
    "io.container.manager",
    "org.criu.config",
    "org.systemd.property.",
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
)


def features() -> dict[str, Any]:
    """The features structure."""
    return {
        "ociVersionMin": OLDEST_SPEC_VERSION,
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(HOOK_KINDS),
        "mountOptions": list(MOUNT_OPTIONS),
        "linux": {
            "namespaces": sorted(CLONE_FLAGS),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(get_args(SeccompAction)),
                "operators": sorted(get_args(SeccompOperator)),
                "archs": sorted(get_args(SeccompArchitecture)),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "memoryPolicy": {"modes": list(scheduling.MODES), "flags": list(scheduling.MODE_FLAGS)},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        # The second is runc's, as in the example in features.md: the specification does not define one.
        "annotations": {"ocipy.version": VERSION, "org.opencontainers.runc.checkpoint.enabled": "true"},
        "potentiallyUnsafeConfigAnnotations": list(ANNOTATIONS_WITH_EFFECT),
    }
