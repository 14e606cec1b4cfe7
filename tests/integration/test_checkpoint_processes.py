"""The properties of processes that survive a restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import proc_status
from tests.harness.criu import Asked, version

pytestmark = pytest.mark.usefixtures("criu")


def test_threads(asked: Asked) -> None:
    """Each thread continues by itself, with its locks."""
    asked.run()
    asked.ask("import threading; lock = threading.Lock(); lock.acquire(); counts = [0, 0, 0]; got = []")
    asked.ask(
        "def count(number):\n    while True:\n        counts[number] += 1\n        time.sleep(0.01)\n"
        "for number in range(3):\n    threading.Thread(target=count, args=[number], daemon=True).start()\n"
        "threading.Thread(target=lambda: (lock.acquire(), got.append(1)), daemon=True).start()"
    )
    threads = len(list(Path(f"/proc/{asked.pid}/task").iterdir()))
    assert threads == 5
    before = asked.ask("counts")
    asked.there_and_back()
    assert len(list(Path(f"/proc/{asked.pid}/task").iterdir())) == threads
    asked.ask("time.sleep(0.5)")
    assert all(now > then for now, then in zip(asked.ask("counts"), before, strict=True))
    assert asked.ask("got") == []
    asked.ask("lock.release(); time.sleep(0.5)")
    assert asked.ask("got") == [1]


def test_a_family(asked: Asked) -> None:
    """Children with their ids, groups and sessions; the pipes between them; an unreaped zombie."""
    asked.run()
    asked.ask("down, up = os.pipe(), os.pipe(); both = os.pipe()")
    asked.ask(
        "child = os.fork()\n"
        "if child == 0:\n    os.setsid()\n    os.write(both[1], b'in it')\n"
        "    while True:\n        os.write(up[1], os.read(down[0], 100).upper())"
    )
    asked.ask("zombie = os.fork() or os._exit(3)")
    asked.ask("os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)")
    family = asked.ask("[os.getpid(), child, zombie, os.getsid(child), os.getpgid(child)]")
    asked.there_and_back()
    assert asked.ask("[os.getpid(), child, zombie, os.getsid(child), os.getpgid(child)]") == family
    asked.ask("os.write(down[1], b'a word')")
    assert asked.ask("os.read(up[0], 100).decode()") == "A WORD"
    assert asked.ask("os.read(both[0], 100).decode()") == "in it"
    assert asked.ask("os.waitstatus_to_exitcode(os.waitpid(zombie, 0)[1])") == 3
    asked.ask("os.kill(child, 9)")
    assert asked.ask("os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])") == -9


def test_files(asked: Asked) -> None:
    """The content of a tmpfs; a deleted file; file positions and flags."""
    asked.bundle.mount("/scratch", "tmpfs", "nosuid", "size=1m", type="tmpfs")
    asked.run()
    asked.ask(
        "os.makedirs('/scratch/a/b'); open('/scratch/a/b/c', 'w').write('text'); os.chmod('/scratch/a/b/c', 0o640)"
    )
    asked.ask("os.symlink('c', '/scratch/a/b/d'); os.mkfifo('/dev/shm/fifo')")
    asked.ask("deleted = open('/dev/shm/deleted', 'w+'); print('text', file=deleted, flush=True)")
    asked.ask("bound = open('/agent/deleted', 'w+'); print('bound', file=bound, flush=True)")
    asked.ask("os.unlink('/dev/shm/deleted'); os.unlink('/agent/deleted')")
    asked.ask("reading = open('/etc/passwd', 'rb', buffering=0); reading.seek(5)")
    asked.there_and_back()
    assert asked.ask("open('/scratch/a/b/d').read()") == "text"
    assert asked.ask("oct(os.stat('/scratch/a/b/c').st_mode)") == "0o100640"
    assert asked.ask("os.statvfs('/scratch').f_blocks * os.statvfs('/scratch').f_frsize") == 1 << 20
    assert asked.ask("os.listdir('/dev/shm')") == ["fifo"]
    assert asked.ask("(deleted.seek(0), deleted.read())[1]") == "text\n"
    assert asked.ask("(bound.seek(0), bound.read())[1]") == "bound\n"
    assert asked.ask("reading.read(3).decode()") == "x:0"
    assert [path.name for path in asked.ask.place.iterdir()] == ["answer"]


def test_sockets_timers_and_signals(asked: Asked) -> None:
    """Sockets, epoll, events, timers, signal handlers, and blocked and pending signals."""
    asked.run()
    asked.ask("import select, signal, socket; seen = []")
    asked.ask("one, other = socket.socketpair(); one.send(b'waiting'); poll = select.epoll(); poll.register(other, 1)")
    asked.ask("event = os.eventfd(7)")
    asked.ask("signal.signal(signal.SIGALRM, lambda *_: seen.append('ALRM')); signal.setitimer(signal.ITIMER_REAL, 3)")
    asked.ask("signal.signal(signal.SIGUSR2, lambda *_: seen.append('USR2'))")
    asked.ask("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); os.kill(1, signal.SIGUSR2)")
    asked.there_and_back()
    assert asked.ask("[fd == other.fileno() for fd, _ in poll.poll(0)]") == [True]
    assert asked.ask("other.recv(100).decode()") == "waiting"
    assert asked.ask("os.eventfd_read(event)") == 7
    asked.ask("signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])")
    asked.ask("time.sleep(4)")
    assert asked.ask("sorted(seen)") == ["ALRM", "USR2"]


@pytest.mark.needs_capability("CAP_SYS_RESOURCE")  # criu reads the limits of another user's process
def test_identity_survives(asked: Asked) -> None:
    asked.bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o027}
    asked.bundle.process["cwd"] = "/tmp"
    asked.bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 500, "soft": 400}]
    asked.bundle.process["oomScoreAdj"] = 300
    asked.run()
    look = (
        "[os.getuid(), os.getgid(), os.getgroups(), os.umask(os.umask(0)), os.getcwd(), os.nice(0), os.environ['PATH']]"
    )
    was = asked.ask("(os.umask(0o027), os.nice(3))") and asked.ask(look)
    limits = Path(f"/proc/{asked.pid}/limits").read_text()
    asked.there_and_back()
    assert asked.ask("(os.umask(0o027),)") == [0o027]
    assert asked.ask(look)[:3] == was[:3] == [1000, 1001, [5, 6]]
    assert asked.ask(look)[4:] == was[4:]
    assert Path(f"/proc/{asked.pid}/limits").read_text() == limits
    assert Path(f"/proc/{asked.pid}/oom_score_adj").read_text() == "300\n"


def test_seccomp(asked: Asked) -> None:
    """The filter still applies, and no process has gained privileges."""
    asked.bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    asked.run()
    attempt = "try:\n    os.mkdir('/dev/shm/x'); said = 'made'\nexcept OSError as error:\n    said = error.errno"
    kept = ["Seccomp", "Seccomp_filters", "CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"]
    if version() >= (3, 19):
        kept.append("NoNewPrivs")  # criu pull request 2228
    status = {name: proc_status(asked.pid)[name] for name in kept}
    asked.ask(attempt)
    assert (asked.ask("said"), status["Seccomp"]) == (95, "2")
    asked.there_and_back()
    asked.ask(attempt)
    assert asked.ask("said") == 95
    assert {name: proc_status(asked.pid)[name] for name in kept} == status
