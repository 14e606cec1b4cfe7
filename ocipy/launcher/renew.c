/* A snapshot belongs to a directory, a Python and a libc, so no package can contain one. The first start makes it.
 *
 * A command that had to start Python calls this when its work is done. It starts a process that makes a snapshot for
 * later commands, and does not wait for it. That process keeps nothing of the caller's: no descriptors, terminal,
 * session or (as root) cgroup. It runs only when a processor is idle. A build in place does not use this, since make
 * makes the snapshot. */
#include "launcher.h"
#include "snapshot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char *executable_obstacle(const struct places *places) {
    char executable[PATH_MAX];
    struct stat about;
    if (find_callable(places, executable) || stat(executable, &about))
        return "the executable cannot be found";
    const char *reason = distrust(executable, &about);
    return reason ? reason_of("the executable ", reason) : NULL;
}

const char *snapshot_obstacle(const struct places *places) {
    const char *advice, *obstacle = python_fault(&advice);
    if (!obstacle)
        obstacle = making_obstacle(places->snapshot);
    if (!obstacle)
        obstacle = executable_obstacle(places);
    if (obstacle)
        return obstacle;
    switch (last_try(places->snapshot)) {
    case AT_THIS_MOMENT:
        return "one is being made";
    case A_MOMENT_AGO:
        return "the last attempt to make one failed: ocipy setup says why";
    default:
        return NULL;
    }
}

static void move_to(const char *cgroup) {
    char file[PATH_MAX];
    snprintf(file, sizeof(file), "%s/cgroup.procs", cgroup);
    int processes = open(file, O_WRONLY | O_CLOEXEC);
    if (processes >= 0) {
        (void)!write(processes, "0", 1);
        close(processes);
    }
}

/* Moves this process to the root of each hierarchy, because the caller may want to remove its cgroup. Needs root. */
static void leave_cgroups(void) {
    static const char top[] = "/sys/fs/cgroup";
    struct statfs system;
    if (statfs(top, &system))
        return;
    if (system.f_type == CGROUP2_SUPER_MAGIC) {
        move_to(top);
        return;
    }
    DIR *hierarchies = opendir(top);
    for (struct dirent *entry; hierarchies && (entry = readdir(hierarchies));) {
        char hierarchy[PATH_MAX];
        snprintf(hierarchy, sizeof(hierarchy), "%s/%s", top, entry->d_name);
        if (entry->d_type == DT_DIR && *entry->d_name != '.')
            move_to(hierarchy);
    }
    if (hierarchies)
        closedir(hierarchies);
}

static void close_all(void) {
    if (syscall(SYS_close_range, 0, ~0U, 0) == 0)
        return;
    for (int fd = 0; fd < (int)sysconf(_SC_OPEN_MAX) && fd < 1 << 20; fd++) /* before Linux 5.9 */
        close(fd);
}

static void detach(void) {
    struct sched_param lowest = {0};
    sigset_t none;
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close_all();
    for (int fd = 0; fd < 3; fd++)
        (void)!open("/dev/null", O_RDWR);
    (void)!chdir("/"); /* the caller may want to unmount its directory */
    leave_cgroups();
    /* Last: if it came first, a caller on a busy machine would wait long for the end of file on its pipes. */
    sched_setscheduler(0, SCHED_IDLE, &lowest);
}

void renew_snapshot(const struct places *places) {
    static char *const nothing[] = {NULL};
    char executable[PATH_MAX];
    /* The order matters: another process may finish its snapshot between the two questions. */
    if (snapshot_obstacle(places) || has_snapshot(places) || find_callable(places, executable) || fork() != 0)
        return;
    detach();
    execle(executable, "ocipy", "_renew", NULL, nothing);
    _exit(1);
}
