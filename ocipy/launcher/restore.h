/* The parts of the quick launcher, which is linked statically against musl. */
#ifndef OCIPY_RESTORE_H
#define OCIPY_RESTORE_H

#include "launcher.h"
#include "snapshot_format.h"

#include <limits.h>

/* The executable that contains Python, in the start library's directory. */
#define EXECUTABLE_NAME "ocipy-python"

/* That executable and the snapshot: open descriptors, perhaps on an overlay; the paths; the directory of both. */
struct snapshot_files {
    int executable, snapshot;
    char executable_path[PATH_MAX], snapshot_path[PATH_MAX], directory[PATH_MAX];
};

/* Sets path to directory/name. 0, or -1 if that is too long. */
int join(char path[PATH_MAX], const char *directory, const char *name);

/* Whether a variable may change what ld.so or glibc do at startup, or this process is set-user-ID or the like
 * (AT_SECURE), so that they would have to ignore such variables. */
int environment_matters(char **envp);

/* Maps everything and continues in the executable. Returns -1 if this process cannot use the snapshot. Some of it may
 * be mapped then; execve(2) clears that. packages: the directory that contains the package ocipy. */
int restore(const struct snapshot_files *files, const char *packages, struct resumption *from);

/* loader.c: loads the executable into this process at once, and chooses where its libraries go. Returns only on
 * failure; then the caller must execute something, since the memory is in disorder. */
void load(const char *executable, int argc, char **argv);

#endif
