"""The units of the tests' systemd: a message bus, a user's manager, and the tests; none of the host's.

`run` in this directory starts systemd as the first process of namespaces; tests/vm/run, as the init of its machine.
"""

from __future__ import annotations

from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
USER, NAME = 4242, "ocipy-test"  # as in tests/harness/user.py

UNITS = {
    "tests.service": """
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
Type=oneshot
ExecStart={script}
ExecStopPost=/bin/systemctl {end}
Delegate=yes
TasksMax=infinity
""",
    # As in Debian, but without the parts that need a whole system.
    "dbus.socket": """
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
""",
    "dbus.service": """
[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
""",
    # user@.service without a login: this creates the directory that pam_systemd would create.
    "user@.service": """
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
User=%i
Group=%i
Type=notify
Slice=user-%i.slice
Environment=XDG_RUNTIME_DIR=/run/user/%i HOME=/run/user/%i
RuntimeDirectory=user/%i
RuntimeDirectoryMode=0700
ExecStart=/lib/systemd/systemd --user --unit=tests.target
Delegate=yes
KillMode=mixed
TasksMax=infinity
""",
}
# For the user's manager, which would otherwise start a whole session.
USER_UNITS = {"tests.target": "[Unit]\nDefaultDependencies=no\n"}

# Shell, before systemd is executed: an empty /run with the units that `write` put into $units, and the user.
PREPARE = f"""
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 1777 /run/tmp
mkdir -p /run/lock /run/dbus /run/user /run/systemd/system /run/systemd/user
for file in passwd group; do
  cp /etc/$file /run/$file
  mount --bind /run/$file /etc/$file
done
echo '{NAME}:x:{USER}:{USER}::/:/bin/sh' >> /etc/passwd
echo '{NAME}:x:{USER}:' >> /etc/group
cp $units/system/* /run/systemd/system/
cp $units/user/* /run/systemd/user/
"""


def write(directory: Path, script: Path, end: str) -> None:
    """Write the unit files, in the folders system and user. `script` is the tests' service; `end` is the systemctl
    command at its end."""
    for folder, units in (("system", UNITS), ("user", USER_UNITS)):
        (directory / folder).mkdir()
        for name, text in units.items():
            (directory / folder / name).write_text(text.format(script=script, end=end))
