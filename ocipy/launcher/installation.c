/* What each executable does first: set the signals, decide whether this command must be sealed, find the other files,
 * and refuse those that somebody else could have written.
 *
 * OCIPY_START_LIBRARY: absolute path of the start library, for a build in place; by default layout.c finds it.
 * OCIPY_CHECKOUT, OCIPY_CHECKOUT_EXECUTABLE: the directory of a build in place, and the executable's path in it. */
#include "launcher.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void set_signals(void) {
    /* A closed pipe, or a file at its size limit, must be an error after which we can clean up, not kill us half-way.
     * Programs that we execute get the default again. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* If the caller ignores it (shells, perl and supervisors may), the kernel reaps our children before we learn how
     * they ended: wait(2). */
    signal(SIGCHLD, SIG_DFL);
}

/* The commands that end inside a container. `ocipy box run` does not: it executes another ocipy for that. */
int needs_sealing(int argc, char **argv) {
    static const char *const commands[] = {"create", "run", "exec", "restore"};
    if (argc > 1 && !strcmp(argv[1], "box"))
        return 0;
    for (int i = 1; i < argc; i++)
        for (size_t j = 0; j < sizeof(commands) / sizeof(*commands); j++)
            if (!strcmp(argv[i], commands[j]))
                return 1;
    return 0;
}

#if !defined(OCIPY_START_LIBRARY) || defined(OCIPY_CHECKOUT)
static int find_or_complain(char path[PATH_MAX]) {
    int failed = find_own_path(path);
    if (failed)
        complain("cannot find out where the runtime is installed; is /proc mounted?", "/proc/self/exe");
    return failed;
}
#endif

#ifndef OCIPY_START_LIBRARY
int find_start_library(char path[PATH_MAX]) {
    char executable[PATH_MAX];
    if (find_or_complain(executable))
        return -1;
    library_of_executable(executable, path);
    return 0;
}
#elif defined(OCIPY_CHECKOUT)
/* Paths are compiled in, so the executable of a copied checkout would run the original's code. */
int find_start_library(char path[PATH_MAX]) {
    static const char tail[] = "/" OCIPY_CHECKOUT_EXECUTABLE;
    char executable[PATH_MAX];
    if (find_or_complain(executable))
        return -1;
    size_t size = strlen(executable);
    if (size >= sizeof(tail) && !strcmp(executable + size - strlen(tail), tail) &&
        strcmp(executable, OCIPY_CHECKOUT "/" OCIPY_CHECKOUT_EXECUTABLE)) {
        dprintf(STDERR_FILENO,
                "ocipy: %s was built in %s; this checkout is a copy, or was moved: run `make build` in it\n",
                executable, OCIPY_CHECKOUT);
        return -1;
    }
    strcpy(path, OCIPY_START_LIBRARY);
    return 0;
}
#else
int find_start_library(char path[PATH_MAX]) {
    strcpy(path, OCIPY_START_LIBRARY);
    return 0;
}
#endif

/* The directory is checked too: a user who may write there can replace the file. */
int check_file(const char *path) {
    char directory[PATH_MAX];
    struct stat file, parent;
    strcpy(directory, path);
    *strrchr(directory, '/') = '\0';
    if (stat(path, &file) < 0 || stat(directory, &parent) < 0) {
        complain_of_part(path);
        return -1;
    }
    const char *reason = distrust(path, &file);
    if (!reason)
        reason = distrust(directory, &parent);
    if (reason)
        dprintf(STDERR_FILENO, "ocipy: refusing to load %s: it, or its directory, %s\n", path, reason);
    return reason ? -1 : 0;
}
