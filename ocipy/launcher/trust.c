/* Which code files to trust, the path of the running executable, and error messages about files. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

void complain(const char *what, const char *path) {
    int error = errno;
    dprintf(STDERR_FILENO, "ocipy: %s %s: %s\n", what, path, strerror(error));
}

int find_own_path(char path[PATH_MAX]) {
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[size > 0 ? size : 0] = '\0';
    return size > 0 ? 0 : -1;
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

/* In a user namespace (rootless podman), root's files appear to belong to the overflow user: user_namespaces(7). */
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

/* The id outside this user namespace that an id in it is mapped to: user_namespaces(7). -1 if it is not mapped. */
static int64_t id_outside(const char *map, unsigned id) {
    unsigned inside, outside, count;
    int64_t found = -1;
    FILE *ranges = fopen(map, "re");
    while (ranges && found < 0 && fscanf(ranges, "%u %u %u", &inside, &outside, &count) == 3)
        if (id >= inside && id - inside < count)
            found = (int64_t)outside + (id - inside);
    if (ranges)
        fclose(ranges);
    return found;
}

/* Whether a group has this user's name and no other members. Reads the files only, since NSS would load libraries. */
static int is_group_of(int64_t uid, int64_t gid) {
    char name[256] = "";
    int others = 0, found = 0;
    FILE *users = fopen("/etc/passwd", "re"), *groups = fopen("/etc/group", "re");
    for (struct passwd *user; users && (user = fgetpwent(users));) {
        if (user->pw_uid == uid && !*name)
            snprintf(name, sizeof(name), "%s", user->pw_name);
        others |= user->pw_gid == gid && user->pw_uid != uid;
    }
    for (struct group *group; groups && (group = fgetgrent(groups));) {
        if (group->gr_gid != gid)
            continue;
        found |= *name && !strcmp(group->gr_name, name);
        for (char **member = group->gr_mem; *member; member++)
            others |= strcmp(*member, name) != 0;
    }
    if (users)
        fclose(users);
    if (groups)
        fclose(groups);
    return found && !others;
}

/* Whether only its owner is in the group that can write to a file. Since Debian 13, each user has a private group and a
 * umask of 002 (pam_umask(8)), which applies to what pip and uv install. With an ACL, the mode's group bits are a mask
 * for all users and groups that the ACL names: acl(5). */
static int is_of_private_group(const char *path, const struct stat *about) {
    int64_t uid = id_outside("/proc/self/uid_map", about->st_uid),
            gid = id_outside("/proc/self/gid_map", about->st_gid);
    return about->st_uid == geteuid() && uid > 0 && gid > 0 && getxattr(path, "system.posix_acl_access", NULL, 0) < 0 &&
           is_group_of(uid, gid);
}

const char *distrust(const char *path, const struct stat *about) {
    if (about->st_uid != 0 && about->st_uid != geteuid() && !(about->st_uid == OVERFLOW_UID && in_user_namespace()))
        return "belongs to another user";
    if (about->st_mode & S_IWOTH || (about->st_mode & S_IWGRP && !is_of_private_group(path, about)))
        return "is writable by others";
    return NULL;
}
