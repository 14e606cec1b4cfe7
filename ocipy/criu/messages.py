"""criu's messages: the parts of its images/rpc.proto that checkpoint and restore use, and their encoding. Cold.

They are protocol buffers (https://protobuf.dev/programming-guides/encoding): a field is a number with a wire type, then
a varint, or a length and that many bytes. Names and numbers are criu's (https://criu.org/RPC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Field(NamedTuple):
    """A field of a message. kind: "int" (may be negative), "bool", "text", or the fields of a nested message."""

    number: int
    kind: str | Mapping[str, Field]


Fields = Mapping[str, Field]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# enum criu_req_type
DUMP, RESTORE, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 4, 6, 9, 10

PAGE_SERVER: Fields = {"address": Field(1, "text"), "port": Field(2, "int")}
JOIN_NAMESPACE: Fields = {"ns": Field(1, "text"), "ns_file": Field(2, "text")}
INHERIT_FD: Fields = {"key": Field(1, "text"), "fd": Field(2, "int")}
CGROUP_ROOT: Fields = {"ctrl": Field(1, "text"), "path": Field(2, "text")}
FEATURES: Fields = {"mem_track": Field(1, "bool"), "lazy_pages": Field(2, "bool")}

OPTIONS: Fields = {
    "images_dir_fd": Field(1, "int"),
    "pid": Field(2, "int"),
    "leave_running": Field(3, "bool"),
    "ext_unix_sk": Field(4, "bool"),
    "tcp_established": Field(5, "bool"),
    "evasive_devices": Field(6, "bool"),
    "shell_job": Field(7, "bool"),
    "file_locks": Field(8, "bool"),
    "log_level": Field(9, "int"),
    "log_file": Field(10, "text"),
    "ps": Field(11, PAGE_SERVER),
    "notify_scripts": Field(12, "bool"),
    "root": Field(13, "text"),
    "parent_img": Field(14, "text"),
    "track_mem": Field(15, "bool"),
    "auto_dedup": Field(16, "bool"),
    "work_dir_fd": Field(17, "int"),
    "link_remap": Field(18, "bool"),
    "manage_cgroups": Field(24, "bool"),
    "cg_root": Field(25, CGROUP_ROOT),
    "rst_sibling": Field(26, "bool"),
    "inherit_fd": Field(27, INHERIT_FD),
    "manage_cgroups_mode": Field(34, "int"),
    "external": Field(37, "text"),
    "empty_ns": Field(38, "int"),
    "join_ns": Field(39, JOIN_NAMESPACE),
    "freeze_cgroup": Field(44, "text"),
    "tcp_skip_in_flight": Field(46, "bool"),
    "lazy_pages": Field(48, "bool"),
    "status_fd": Field(49, "int"),
    "orphan_pts_master": Field(50, "bool"),
    "config_file": Field(51, "text"),
    "tcp_close": Field(52, "bool"),
    "lsm_profile": Field(53, "text"),
    "lsm_mount_context": Field(63, "text"),
    "network_lock": Field(64, "int"),
}

REQUEST: Fields = {
    "type": Field(1, "int"),
    "opts": Field(2, OPTIONS),
    "notify_success": Field(3, "bool"),
    "keep_open": Field(4, "bool"),
    "features": Field(5, FEATURES),
}

RESPONSE: Fields = {
    "type": Field(1, "int"),
    "success": Field(2, "bool"),
    "restore": Field(4, {"pid": Field(1, "int")}),
    "notify": Field(5, {"script": Field(1, "text"), "pid": Field(2, "int")}),
    "cr_errno": Field(7, "int"),
    "features": Field(8, FEATURES),
    "cr_errmsg": Field(9, "text"),
    "version": Field(
        10,
        {
            "major_number": Field(1, "int"),
            "minor_number": Field(2, "int"),
            "gitid": Field(3, "text"),
            "sublevel": Field(4, "int"),
        },
    ),
}


def encode(fields: Fields, values: Mapping[str, Any]) -> bytes:
    """Encode a message. values: by field name; a list for a repeated field."""
    parts = []
    for name, value in values.items():
        number, kind = fields[name]
        for one in value if isinstance(value, list) else (value,):
            if kind in ("int", "bool"):
                parts += [_varint(number << 3 | VARINT), _varint(int(one))]
                continue
            data = one.encode("utf-8", "surrogateescape") if kind == "text" else encode(kind, one)  # type: ignore[arg-type]
            parts += [_varint(number << 3 | BYTES), _varint(len(data)), data]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    """Encode a number, seven bits per byte, lowest first; a negative one as 64-bit two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def decode(fields: Fields, data: bytes) -> dict[str, Any]:
    """Decode a message. Skips unknown fields; of a repeated field, keeps the last value. Raises ValueError."""
    names = {field.number: (name, field.kind) for name, field in fields.items()}
    message: dict[str, Any] = {}
    for number, value in _split(data):
        name, kind = names.get(number, ("", ""))
        if not name:
            continue
        if isinstance(value, int) != (kind in ("int", "bool")):
            raise ValueError(f"{name} has the wrong type")
        if kind == "bool":
            message[name] = bool(value)
        elif isinstance(value, int):
            message[name] = value - (1 << 64) if value >> 63 else value
        elif kind == "text":
            message[name] = value.decode("utf-8", "replace")
        else:
            message[name] = decode(kind, value)  # type: ignore[arg-type]
    return message


def _split(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of each field."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == VARINT:
            number, at = _read_varint(data, at)
            yield key >> 3, number
            continue
        if key & 7 == BYTES:
            length, at = _read_varint(data, at)
        elif key & 7 in (FIXED64, FIXED32):
            length = 8 if key & 7 == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {key & 7}")
        if at + length > len(data):
            raise ValueError("the message is truncated")
        yield key >> 3, data[at : at + length]
        at += length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (value, offset after it)."""
    value = 0
    for position in range(10):
        if at + position >= len(data):
            raise ValueError("the message is truncated")
        byte = data[at + position]
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            return value & (1 << 64) - 1, at + position + 1
    raise ValueError("a number is longer than 64 bits")
