/* Which files of code to trust, and errors of files. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void complain(const char *what, const char *path) {
    int error = errno;
    dprintf(STDERR_FILENO, "ocipy: %s %s: %s\n", what, path, strerror(error));
}

int is_missing(int error) {
    return error == ENOENT || error == ENOTDIR;
}

void complain_of_part(const char *path) {
    complain(is_missing(errno) ? "the runtime is incomplete; build or install it again:" : "cannot read the runtime:",
             path);
}

const char *reason_of(const char *what, const char *why) {
    char *reason;
    return asprintf(&reason, "%s%s", what, why) < 0 ? what : reason;
}

/* In a user namespace (rootless podman) root's files seem to belong to the overflow user: user_namespaces(7). */
static int in_user_namespace(void) {
    static const char everyone[] = "         0          0 4294967295\n";
    char map[64];
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, map, sizeof(map));
    if (fd >= 0)
        close(fd);
    return size > 0 && (size != sizeof(everyone) - 1 || memcmp(map, everyone, size) != 0);
}

enum { OVERFLOW_UID = 65534 };

const char *distrust(const struct stat *about) {
    if (about->st_uid != 0 && about->st_uid != geteuid() && !(about->st_uid == OVERFLOW_UID && in_user_namespace()))
        return "belongs to another user";
    if (about->st_mode & (S_IWGRP | S_IWOTH))
        return "is writable by others";
    return NULL;
}
