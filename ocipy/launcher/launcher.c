/* The executable `ocipy`: seals itself for commands that end inside a container, then loads the start library, which
 * runs Python.
 *
 * OCIPY_LINKED_START: the start library is linked in. OCIPY_SEALED: the name of the executable to seal, in the start
 * library's directory; this executable by default. */
#include "launcher.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Finds the file to copy and seal, and checks it, since it is our code too. 0, or -1 after reporting the reason. */
static int find_sealed(const char *library, char *file) {
#ifdef OCIPY_SEALED
    strcpy(file, library);
    char *name = strrchr(file, '/') + 1;
    if (name - file + sizeof(OCIPY_SEALED) > PATH_MAX)
        return -1;
    strcpy(name, OCIPY_SEALED);
    return check_file(file);
#else
    (void)library;
    strcpy(file, "/proc/self/exe");
    return 0;
#endif
}

static ocipy_start_function *load_start(const char *path) {
#ifdef OCIPY_LINKED_START
    (void)path;
    return ocipy_start;
#else
    /* RTLD_GLOBAL: the standard library's extension modules need its symbols. */
    void *library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    ocipy_start_function *start = library ? (ocipy_start_function *)dlsym(library, OCIPY_START_FUNCTION) : NULL;
    const char *advice, *fault = start ? NULL : python_fault(&advice);
    if (fault)
        dprintf(STDERR_FILENO, "ocipy: %s\n  %s\n", fault, advice);
    else if (!start)
        dprintf(STDERR_FILENO, "ocipy: cannot load the runtime: %s\n", dlerror());
    return start;
#endif
}

int handed_snapshot = -1, executable_on_overlay = -1;

int seal(const char *library, char **argv, int in_place) {
    char file[PATH_MAX];
#ifdef OCIPY_LINKED_START
    struct on_overlay files;
    strcpy(file, library);
    *strrchr(file, '/') = '\0';
    if (open_self_on_overlay(file, &files) == 0) {
#ifdef OCIPY_SNAPSHOT
        if (in_place && files.snapshot >= 0 && !files.is_foreign && can_replace_executable()) {
            handed_snapshot = files.snapshot;
            executable_on_overlay = files.executable;
            return 0;
        }
#endif
        execute_on_overlay(&files, library, argv);
    }
#endif
    if (find_sealed(library, file) == 0 && hand_over("", library) == 0)
        execute_sealed_copy(file, argv);
    return -1;
}

#ifdef OCIPY_LINKED_START
void execute_instead(int executable, int snapshot, const char *library, char **argv) {
    struct on_overlay files = {.executable = executable, .snapshot = snapshot};
    if (describe_on_overlay(executable, files.identity) == 0)
        execute_on_overlay(&files, library, argv);
}
#endif

int main(int argc, char **argv) {
    char path[PATH_MAX], identity[IDENTITY_SIZE];
    set_signals();
    int descriptor;
    take_over(identity, path, &descriptor);
    int sealed = *path || needs_sealing(argc, argv) ? is_sealed(identity) : 0;
    if (sealed < 0) {
        complain("cannot open the running executable; is /proc mounted?", "/proc/self/exe");
        return 1;
    }
    if (!sealed) /* anyone can set the variable; only in a sealed process it must come from us */
        *path = '\0';
    if (!*path && find_start_library(path) < 0)
        return 1;
    if (!sealed && needs_sealing(argc, argv)) {
        hurry(argc, argv);
        if (seal(path, argv, 1))
            return 1;
    }
    if (sealed)
        handed_snapshot = descriptor;
    if (sealed || executable_on_overlay >= 0)
        prctl(PR_SET_NAME, "ocipy"); /* the kernel has named it after the file or descriptor that was executed */
    if (check_file(path) < 0)
        return 1;
    ocipy_start_function *start = load_start(path);
    return start ? start(argc, argv, path) : 1;
}
