/* Sealing without a copy: the executable is executed from a read-only overlay that has no place in any mount namespace.
 *
 * Its two lower layers are the executable's own directory and another one (an overlay with a single one needs an upper layer). Without
 * an upper layer it can never be made writable, by nobody: what opens /proc/PID/exe for writing gets EROFS, and the file below it
 * cannot be reached from there. So executable and snapshot are shared with every other process, in the page cache. It takes CAP_SYS_ADMIN
 * in the user namespace, and a file system that can be a layer. https://docs.kernel.org/filesystems/overlayfs.html */
#include "launcher.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

extern char **environ;

/* What overlayfs takes for syntax in the list of its layers. */
static int is_plain(const char *path) { return !path[strcspn(path, ":,\\")]; }

static long set_string(int context, const char *key, const char *value) {
    return syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

/* A descriptor of the root of a new overlay, -1 if it cannot be had here. */
static int mount_overlay(const char *layers) {
    int context = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC), root = -1;
    if (context < 0)
        return -1;
    if (!syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0) && !set_string(context, "source", "ocipy") &&
        !set_string(context, "lowerdir", layers) && !syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    close(context);
    return root;
}

/* "DEVICE:INODE", by which the file is known to the process that it is executed in. -1 if it is on no overlay. */
static int describe(int file, char identity[IDENTITY_SIZE]) {
    struct stat about;
    struct statfs system;
    if (fstat(file, &about) || fstatfs(file, &system) || system.f_type != OVERLAYFS_SUPER_MAGIC)
        return -1;
    snprintf(identity, IDENTITY_SIZE, "%llx:%llx", (unsigned long long)about.st_dev, (unsigned long long)about.st_ino);
    return 0;
}

int is_on_overlay(int executable, const char *identity) {
    char actual[IDENTITY_SIZE];
    return describe(executable, actual) == 0 && !strcmp(actual, identity);
}

void execute_on_overlay(const char *other_layer, int (*hand_over)(const char *identity), char **argv) {
    char self[PATH_MAX], layers[2 * PATH_MAX], identity[IDENTITY_SIZE];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (size < 0)
        return;
    self[size] = '\0';
    char *name = strrchr(self, '/');
    if (!name || name == self || strlen(other_layer) >= PATH_MAX)
        return;
    *name++ = '\0';
    if (!is_plain(self) || !is_plain(other_layer))
        return;
    snprintf(layers, sizeof(layers), "%s:%s", self, other_layer);
    int root = mount_overlay(layers);
    int file = root < 0 ? -1 : openat(root, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (file >= 0 && describe(file, identity) == 0 && hand_over(identity) == 0)
        syscall(SYS_execveat, file, "", argv, environ, AT_EMPTY_PATH);
    if (file >= 0)
        close(file);
    if (root >= 0)
        close(root);
}
