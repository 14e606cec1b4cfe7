/* The executable `ocipy`: seals itself for commands that end inside a container, then loads the start library, which
 * runs Python.
 *
 * OCIPY_START_LIBRARY: absolute path of the start library, for a build in place; by default layout.c finds it.
 * OCIPY_CHECKOUT, OCIPY_CHECKOUT_EXECUTABLE: the directory of a build in place, and the executable's path in it.
 * OCIPY_LINKED_START: the start library is linked in. OCIPY_SEALED: name of the executable to seal, in the directory
 * of the start library; by default this one. */
#include "launcher.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Passes the path of the start library through the second exec: a sealed copy does not know where it came from. */
static const char START_VARIABLE[] = "_OCIPY_START";

/* The commands that end inside a container. `ocipy box run` does not: it executes another ocipy for that. */
static int needs_sealing(int argc, char **argv) {
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
/* The path of the running executable. 0, or -1 after reporting the reason. */
static int find_executable(char path[PATH_MAX]) {
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (size < 0) {
        complain("cannot find out where the runtime is installed; is /proc mounted?", "/proc/self/exe");
        return -1;
    }
    path[size] = '\0';
    return 0;
}
#endif

#ifndef OCIPY_START_LIBRARY
static int find_start_library(char *path) {
    char executable[PATH_MAX];
    if (find_executable(executable))
        return -1;
    library_of_executable(executable, path);
    return 0;
}
#elif defined(OCIPY_CHECKOUT)
/* Paths are compiled in, so the executable of a copied checkout would run the original's code. */
static int find_start_library(char *path) {
    static const char tail[] = "/" OCIPY_CHECKOUT_EXECUTABLE;
    char executable[PATH_MAX];
    if (find_executable(executable))
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
static int find_start_library(char *path) {
    strcpy(path, OCIPY_START_LIBRARY);
    return 0;
}
#endif

/* Refuse to load a file that somebody else could have written. This includes its directory: a user who may write
 * there can replace the file. */
static int check_file(const char *path) {
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

/* The file to seal is also our code, so it is checked too. Returns 0 and its path in file, or -1 after reporting the
 * reason. */
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
    /* RTLD_GLOBAL, since extension modules of the standard library need its symbols. */
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

/* START_VARIABLE is IDENTITY "," DESCRIPTOR "=" PATH of the start library; a sealed memfd has nothing before the
 * "=". */
static const char *library_to_hand_over;

static int hand_over(const char *identity) {
    char value[IDENTITY_SIZE + PATH_MAX];
    snprintf(value, sizeof(value), "%s=%s", identity, library_to_hand_over);
    return setenv(START_VARIABLE, value, 1);
}

int handed_snapshot = -1, executable_on_overlay = -1;

/* Removes the variable from the environment. Sets identity and path to what was passed to this process, or to "",
 * and descriptor to the number, or to -1. */
static void take_over(char identity[IDENTITY_SIZE], char *path, int *descriptor) {
    const char *handed = getenv(START_VARIABLE), *equals = handed ? strchr(handed, '=') : NULL;
    *identity = *path = '\0';
    *descriptor = -1;
    if (equals && equals - handed < IDENTITY_SIZE && strlen(equals) <= PATH_MAX) {
        memcpy(identity, handed, equals - handed);
        identity[equals - handed] = '\0';
        strcpy(path, equals + 1);
        char *comma = strchr(identity, ',');
        if (comma) {
            *comma = '\0';
            *descriptor = atoi(comma + 1);
        }
    }
    unsetenv(START_VARIABLE);
}

int seal(const char *library, char **argv, int in_place) {
    char file[PATH_MAX];
    library_to_hand_over = library;
#ifdef OCIPY_LINKED_START
    struct on_overlay files;
    strcpy(file, library);
    *strrchr(file, '/') = '\0';
    if (open_on_overlay(file, &files) == 0) {
#ifdef OCIPY_SNAPSHOT
        if (in_place && files.snapshot >= 0 && can_replace_executable()) {
            handed_snapshot = files.snapshot;
            executable_on_overlay = files.executable;
            return 0;
        }
#endif
        execute_on_overlay(&files, hand_over, argv);
    }
#endif
    if (find_sealed(library, file) == 0 && hand_over("") == 0)
        execute_sealed_copy(file, argv);
    return -1;
}

int main(int argc, char **argv) {
    char path[PATH_MAX], identity[IDENTITY_SIZE];
    /* A closed pipe, or a file at its size limit, must be an error that we can clean up after, not a death half-way.
     * Programs that we execute get the default again. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* If the caller ignores it (shells, perl and supervisors do), the kernel would reap our children before we learn
     * how they ended: wait(2). */
    signal(SIGCHLD, SIG_DFL);
    int descriptor;
    take_over(identity, path, &descriptor);
    int sealed = *path || needs_sealing(argc, argv) ? is_sealed(identity) : 0;
    if (sealed < 0) {
        complain("cannot open the running executable; is /proc mounted?", "/proc/self/exe");
        return 1;
    }
    if (!sealed) /* only a sealed process may trust the variable */
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
        prctl(PR_SET_NAME, "ocipy"); /* executed by another name, or by descriptor, it would be named after that */
    if (check_file(path) < 0)
        return 1;
    ocipy_start_function *start = load_start(path);
    return start ? start(argc, argv, path) : 1;
}
