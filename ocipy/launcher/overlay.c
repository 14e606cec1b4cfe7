/* Sealing without a copy: the executable is executed from a read-only overlay that is not attached to any mount
 * namespace.
 *
 * Its two lower layers are the executable's directory and another one (an overlay with a single lower layer needs an
 * upper one). Without an upper layer, nobody can ever make it writable: opening /proc/PID/exe for writing fails with
 * EROFS, and the underlying file cannot be reached from there. The snapshot is opened on the overlay too, since
 * /proc/PID/map_files leads to it. The page cache still holds one copy of each file, which all processes share. This
 * takes CAP_SYS_ADMIN in the user namespace, and a filesystem that can be a layer.
 * https://docs.kernel.org/filesystems/overlayfs.html */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static long set_string(int context, const char *key, const char *value) {
    return syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

/* Mounts an overlay. Returns a descriptor of its root, or -1 with errno. */
static int mount_overlay(const char *layers) {
    int context = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC), root = -1;
    if (context < 0)
        return -1;
    if (!syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, "ro", NULL, 0) && !set_string(context, "source", "ocipy") &&
        !set_string(context, "lowerdir", layers) && !syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        root = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                            MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    close(context);
    return root;
}

/* Sets identity to "DEVICE:INODE", by which the executed process recognizes the file. 0, or -1 if the file is not on a
 * read-only overlay. */
int describe_on_overlay(int file, char identity[IDENTITY_SIZE]) {
    struct stat about;
    struct statfs system;
    if (fstat(file, &about) || fstatfs(file, &system) || system.f_type != OVERLAYFS_SUPER_MAGIC ||
        !(system.f_flags & ST_RDONLY))
        return -1;
    snprintf(identity, IDENTITY_SIZE, "%llx:%llx", (unsigned long long)about.st_dev, (unsigned long long)about.st_ino);
    return 0;
}

int is_on_overlay(int executable, const char *identity) {
    char actual[IDENTITY_SIZE], self[PATH_MAX];
    /* On a mount that is not attached, the file is directly below the root. */
    return find_own_path(self) == 0 && strrchr(self, '/') == self && describe_on_overlay(executable, actual) == 0 &&
           !strcmp(actual, identity);
}

/* Opens the snapshot, without O_CLOEXEC, for the process that executes the executable. -1 on failure. */
static int open_snapshot(int root) {
#ifdef OCIPY_SNAPSHOT
    return openat(root, SNAPSHOT_NAME, O_RDONLY | O_NOFOLLOW);
#else
    return -1;
#endif
}

static void close_files(const struct on_overlay *files) {
    close(files->executable);
    if (files->snapshot >= 0)
        close(files->snapshot);
}

static int add_number(char identity[IDENTITY_SIZE], int number) {
    size_t length = strlen(identity);
    int more = snprintf(identity + length, IDENTITY_SIZE - length, ",%d", number);
    return more > 0 && length + more < IDENTITY_SIZE ? 0 : -1;
}

int find_self(char directory[PATH_MAX], char name[PATH_MAX]) {
    if (find_own_path(directory))
        return -1;
    char *slash = strrchr(directory, '/');
    if (!slash || slash == directory) {
        errno = EINVAL;
        return -1;
    }
    *slash = '\0';
    strcpy(name, slash + 1);
    return 0;
}

/* Mounts an overlay of two directories. Returns a descriptor of its root, or -1 with errno. */
static int overlay_of(const char *directory, const char *other_layer) {
    char layers[64];
    int first = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
        second = open(other_layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
    /* By descriptor: fsconfig(2) accepts at most 255 bytes, and the characters : , \ in a path would be syntax. */
    snprintf(layers, sizeof(layers), "/proc/self/fd/%d:/proc/self/fd/%d", first, second);
    int root = first < 0 || second < 0 ? -1 : mount_overlay(layers), error = errno;
    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    errno = error;
    return root;
}

/* What the child shares with its parent, which is suspended meanwhile. */
struct aside {
    const char *directory, *other_layer;
    int root, error;
};

static int mount_aside(void *argument) {
    struct aside *aside = argument;
    aside->root = overlay_of(aside->directory, aside->other_layer);
    aside->error = errno;
    return 0;
}

/* For a user without CAP_SYS_ADMIN: a child mounts the overlay in new user and mount namespaces (since Linux 5.11). It
 * shares its descriptors with us. Its namespaces end with it, so nobody gains rights over the mount. Returns a
 * descriptor, or -1 with errno. */
static int overlay_in_user_namespace(const char *directory, const char *other_layer) {
    static char stack[32768] __attribute__((aligned(16)));
    struct aside aside = {directory, other_layer, -1, EPERM};
    pid_t child = clone(mount_aside, stack + sizeof(stack),
                        CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWUSER | CLONE_NEWNS | SIGCHLD, &aside);
    if (child < 0) {
        errno = EPERM; /* namespaces are forbidden, by whatever means: clone(2) has several errors for that */
        return -1;
    }
    waitpid(child, NULL, 0);
    errno = aside.error;
    return aside.root;
}

int open_on_overlay(const char *directory, const char *name, const char *other_layer, struct on_overlay *files) {
    int root = overlay_of(directory, other_layer);
    files->is_foreign = root < 0 && errno == EPERM;
    if (files->is_foreign)
        root = overlay_in_user_namespace(directory, other_layer);
    files->executable = root < 0 ? -1 : openat(root, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    files->snapshot = files->executable < 0 ? -1 : open_snapshot(root);
    if (root >= 0)
        close(root);
    if (files->executable < 0)
        return -1;
    if (describe_on_overlay(files->executable, files->identity) == 0)
        return 0;
    close_files(files);
    errno = EINVAL;
    return -1;
}

int open_self_on_overlay(const char *library_directory, struct on_overlay *files) {
    char directory[PATH_MAX], name[PATH_MAX];
    if (find_self(directory, name))
        return -1;
    /* ocipy-python is in the library's directory itself; any other directory will do as the second layer. */
    const char *other = strcmp(directory, library_directory) ? library_directory : OCIPY_STDLIB "/encodings";
    return open_on_overlay(directory, name, other, files);
}

const char *overlay_obstacle(const char *library_directory) {
    struct on_overlay files;
    if (open_self_on_overlay(library_directory, &files))
        return strerror(errno);
    close_files(&files);
    return NULL;
}

void execute_on_overlay(struct on_overlay *files, const char *library, char **argv) {
    if (add_number(files->identity, files->snapshot) == 0 && hand_over(files->identity, library) == 0)
        syscall(SYS_execveat, files->executable, "", argv, environ, AT_EMPTY_PATH);
    int error = errno;
    close_files(files);
    forget_handed();
    errno = error;
}
