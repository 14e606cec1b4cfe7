/* Systemd moves each container's process into a cgroup, and restore moves criu. For such a move the kernel waits until
 * no process can be in the middle of a fork or an exit: an RCU grace period, some 10 ms, or nothing if somebody else
 * has just waited for the same (cgroup_threadgroup_rwsem, rcu_sync_enter). So, before anything else, a child moves
 * itself into the cgroup that it is in already. That changes nothing, but the wait is over by the time of the real
 * move. */
#include "../linux/kernel/raw_call.h"
#include "launcher.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef OCIPY_QUICK
enum { HURRY_FLAGS = 0 };
#else
enum { HURRY_FLAGS = CLONE_VM };
#endif
enum { STACK_SIZE = 16384, ROOT_INODE = 1, LONGEST = 16384 };

/* Since Linux 5.9; older headers lack it. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static int write_zero(void *argument) {
    static const char zero[] = "0";
    long fd = (long)(intptr_t)argument;
    /* Close everything else: the caller may be waiting for the end of our output. */
    if (fd > 0)
        raw_call(SYS_close_range, 0, fd - 1, 0, 0, 0);
    raw_call(SYS_close_range, fd + 1, UINT_MAX, 0, 0, 0);
    raw_call(SYS_write, fd, (long)zero, 1, 0, 0);
    return 0;
}

/* Whether a mount point shows the root of our cgroup namespace. If so, its fourth field in proc_pid_mountinfo(5) is
 * "/".
 */
static int shows_root(const char *point) {
    static char line[LONGEST], root[LONGEST], place[LONGEST];
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    int shows = 0;
    while (mounts && fgets(line, sizeof(line), mounts)) /* a later mount covers an earlier one */
        if (sscanf(line, "%*s %*s %*s %s %s", root, place) == 2 && !strcmp(place, point))
            shows = !strcmp(root, "/");
    if (mounts)
        fclose(mounts);
    return shows;
}

/* Whether this directory is the top of a hierarchy, to which the paths in /proc/self/cgroup are relative. A mount may
 * show another part of the hierarchy. */
static int is_top(const char *directory) {
    struct stat about;
    struct statfs system;
    return !stat(directory, &about) && !statfs(directory, &system) &&
           (system.f_type == CGROUP2_SUPER_MAGIC || system.f_type == CGROUP_SUPER_MAGIC) &&
           (about.st_ino == ROOT_INODE || shows_root(directory));
}

/* Opens cgroup.procs of this process's cgroup, in whichever hierarchy works first (cgroups(7)). -1 if none does. */
static int open_own(void) {
    static const struct {
        const char *name, *top;
    } hierarchies[] = {
        {":", "/sys/fs/cgroup"}, {":", "/sys/fs/cgroup/unified"}, {"name=systemd:", "/sys/fs/cgroup/systemd"}};
    static char text[LONGEST], path[LONGEST + PATH_MAX];
    int file = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC), own = -1;
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
    if (file >= 0)
        close(file);
    text[size > 0 ? size : 0] = '\0';
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line && own < 0; line = strtok_r(NULL, "\n", &rest)) {
        const char *name = strchr(line, ':');
        for (size_t i = 0; name && own < 0 && i < sizeof(hierarchies) / sizeof(*hierarchies); i++) {
            size_t length = strlen(hierarchies[i].name);
            if (strncmp(name + 1, hierarchies[i].name, length) || !is_top(hierarchies[i].top))
                continue;
            snprintf(path, sizeof(path), "%s%s/cgroup.procs", hierarchies[i].top, name + 1 + length);
            own = open(path, O_WRONLY | O_CLOEXEC);
        }
    }
    return own;
}

/* Whether this process has such a child already, made by the quick launcher before it executed ocipy-python. */
static int has_child(void) {
    siginfo_t about;
    return !waitid(P_ALL, 0, &about, WEXITED | WNOHANG | WNOWAIT | __WCLONE);
}

void hurry(int argc, char **argv) {
    static const char flag[] = "--systemd-cgroup";
    int wanted = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "exec")) /* its process moves itself */
            return;
        wanted |= !strncmp(argv[i], flag, sizeof(flag) - 1) || !strcmp(argv[i], "restore");
    }
    int own = wanted && !has_child() ? open_own() : -1;
    if (own < 0)
        return;
    /* A new mapping, because a snapshot replaces our data while the child may still run (snapshot.c). */
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* The flags have no exit signal, which would disturb waits for other children. The child keeps this memory when we
     * exec; the quick launcher unmaps its own code instead, so there the child gets a copy of the memory. */
    if (stack != MAP_FAILED)
        clone(write_zero, stack + STACK_SIZE, HURRY_FLAGS, (void *)(intptr_t)own);
    close(own);
}
