"""The rules of linux.resources (config-linux.md, control groups) that hold for cgroup v1 and v2 alike. Hot and pure."""

from __future__ import annotations

from ocipy.errors import escape, in_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import CPU, BlockIO, Memory, Network, Resources

    Findings = list[tuple[str, str]]

_BASE = "/linux/resources"

HIGHEST_NUMBER = 8191
"""Of a CPU: the kernel's NR_CPUS is at most 8192. The limit keeps a typo from becoming a list of millions."""


def errors(resources: Resources, found: Findings) -> None:
    """Append every broken rule to found as (JSON pointer, text). 0 counts as not set."""
    _devices(resources, found)
    memory = resources.get("memory")
    if memory:
        _memory(memory, found)
    cpu = resources.get("cpu")
    if cpu:
        _cpu(cpu, found)
    block = resources.get("blockIO")
    if block:
        _block_io(block, found)
    network = resources.get("network")
    if network:
        _network(network, found)
    for name, limits in (resources.get("rdma") or {}).items():
        if not limits or (limits.get("hcaHandles") is None and limits.get("hcaObjects") is None):
            found.append((_BASE + "/rdma" + escape(name), "needs hcaHandles or hcaObjects"))
        if not name or " " in name or "\n" in name:
            found.append((_BASE + "/rdma" + escape(name), "is not the name of an RDMA device"))
    for name in resources.get("unified") or ():
        if "/" in name or "." not in name.strip("."):
            text = "must be the name of a file of the cgroup, CONTROLLER.PARAMETER"
            found.append((_BASE + "/unified" + escape(name), text))


def _devices(resources: Resources, found: Findings) -> None:
    """Allowed device list. -1 means any number, as in configs that runc has written."""
    for index, rule in enumerate(resources.get("devices") or ()):
        pointer = f"{_BASE}/devices/{index}"
        kind = rule.get("type")
        if kind and kind not in ("a", "b", "c"):
            found.append((pointer + "/type", f"must be a, b or c, not {kind!r}"))
        access = rule.get("access")
        if access and access.strip("rwm"):
            found.append((pointer + "/access", f"may contain only r, w and m, not {access!r}"))
        for member in ("major", "minor"):
            number = rule.get(member)
            if isinstance(number, int) and not -1 <= number <= 0xFFFFFFFF:
                found.append((f"{pointer}/{member}", f"is not a device number: {number}"))


def _memory(memory: Memory, found: Findings) -> None:
    for member in ("limit", "reservation", "swap", "kernel", "kernelTCP"):
        amount = memory.get(member)
        if isinstance(amount, int) and amount < -1:
            found.append((f"{_BASE}/memory/{member}", f"must be a number of bytes, or -1 for unlimited, not {amount}"))
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        text = f"is the sum of memory and swap, so it must not be less than the limit, {in_bytes(limit)}"
        found.append((_BASE + "/memory/swap", text))
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness > 100:
        found.append((_BASE + "/memory/swappiness", f"must be from 0 to 100, not {swappiness}"))


def _cpu(cpu: CPU, found: Findings) -> None:
    quota, burst = cpu.get("quota") or 0, cpu.get("burst") or 0
    if 0 < quota < burst:
        found.append((_BASE + "/cpu/burst", f"must not be more than the quota, {quota}"))
    idle = cpu.get("idle")
    if idle is not None and idle not in (0, 1):
        found.append((_BASE + "/cpu/idle", f"must be 0 or 1, not {idle}"))
    list_of_numbers(cpu.get("cpus"), _BASE + "/cpu/cpus", found)
    list_of_numbers(cpu.get("mems"), _BASE + "/cpu/mems", found)


def _block_io(block: BlockIO, found: Findings) -> None:
    """Weights: 1 to 1000 for the BFQ scheduler, 10 to 1000 for CFQ."""
    for member in ("weight", "leafWeight"):
        weight = block.get(member)
        if isinstance(weight, int) and weight > 1000:
            found.append((f"{_BASE}/blockIO/{member}", f"must be from 10 to 1000, not {weight}"))
    for index, device in enumerate(block.get("weightDevice") or ()):
        pointer = f"{_BASE}/blockIO/weightDevice/{index}"
        if device.get("weight") is None and device.get("leafWeight") is None:
            found.append((pointer, "needs weight or leafWeight"))
        for member in ("weight", "leafWeight"):
            weight = device.get(member)
            if isinstance(weight, int) and weight > 1000:
                found.append((f"{pointer}/{member}", f"must be from 10 to 1000, not {weight}"))


def _network(network: Network, found: Findings) -> None:
    for index, entry in enumerate(network.get("priorities") or ()):
        if not entry["name"] or " " in entry["name"] or "\n" in entry["name"]:
            text = f"{entry['name']!r} is not the name of a network device"
            found.append((f"{_BASE}/network/priorities/{index}/name", text))


def list_of_numbers(text: str | None, pointer: str, found: Findings) -> None:
    """A list like 0-3,7 (cpuset(7), list format). Spaces and a newline around an element are accepted."""
    if not text or not text.strip():
        return
    for element in text.split(","):
        ends = element.strip().split("-")
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            found.append((pointer, f"must be a list of numbers such as 0-3,7, not {text!r}"))
            return
        if int(ends[0]) > int(ends[-1]):
            found.append((pointer, f"the range {element.strip()} runs backwards"))
            return
        if int(ends[-1]) > HIGHEST_NUMBER:
            found.append((pointer, f"{ends[-1]} is more than the highest number, {HIGHEST_NUMBER}"))
            return
