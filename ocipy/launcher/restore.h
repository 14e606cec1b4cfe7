/* The parts of the quick launcher, which is linked statically against musl. */
#ifndef OCIPY_RESTORE_H
#define OCIPY_RESTORE_H

#include "launcher.h"
#include "snapshot_format.h"

#include <limits.h>

/* The executable that has Python, in the directory of the start library. */
#define EXECUTABLE_NAME "ocipy-python"

/* The executable and the snapshot, open, perhaps on an overlay; their paths, and the directory of both. */
struct snapshot_files {
    int executable, snapshot;
    char executable_path[PATH_MAX], snapshot_path[PATH_MAX], directory[PATH_MAX];
};

/* path = directory/name. 0, or -1 if it is too long. */
int join(char path[PATH_MAX], const char *directory, const char *name);

/* Whether a variable changes what ld.so or glibc's start do, or would have to be ignored in this process. */
int environment_matters(char **envp);

/* Maps everything and continues in the executable. Returns only if this snapshot is not for this process; if it has
 * begun to map, an execution clears that. packages: the directory that contains the package ocipy. */
int restore(const struct snapshot_files *files, const char *packages, struct resumption *from);

/* loader.c: loads the executable into this process, but chooses the place of the libraries. Returns only if that fails:
 * then this process must execute something. */
void load(const char *executable, int argc, char **argv);

#endif
