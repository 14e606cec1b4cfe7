/* The executable `ocipy`: seals itself for commands that end inside a container, then loads the start library, which
 * runs Python.
 *
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
    if (open_self_on_overlay(file, &files) == 0) {
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

void forget_handed(void) {
    unsetenv(START_VARIABLE);
}

#ifdef OCIPY_LINKED_START
void execute_instead(int executable, int snapshot, const char *library, char **argv) {
    struct on_overlay files = {.executable = executable, .snapshot = snapshot};
    library_to_hand_over = library;
    if (describe_on_overlay(executable, files.identity) == 0)
        execute_on_overlay(&files, hand_over, argv);
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
