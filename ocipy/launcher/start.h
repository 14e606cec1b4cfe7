/* The parts of the start library.
 *
 * Set at build time, all absolute: OCIPY_STDLIB, OCIPY_DYNLOAD (the standard library's extension modules),
 * OCIPY_PREFIX, OCIPY_EXECUTABLE (the Python that it was built for); for a build in place also OCIPY_PACKAGES (the
 * directory that contains the package ocipy), OCIPY_DEPENDENCIES (the private environment's site-packages),
 * OCIPY_FROZEN and OCIPY_SNAPSHOT_FILE. OCIPY_CORE_PHASE: this Python has PyConfig._init_main. OCIPY_SNAPSHOT: the
 * executable is linked at fixed addresses, so snapshots are possible; otherwise OCIPY_NO_SNAPSHOT says why not.
 * OCIPY_SITES: this Python's package directories, separated by colons, for an installation outside any environment. */
#ifndef OCIPY_START_H
#define OCIPY_START_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "frozen_format.h"

#include <limits.h>
#include <stdint.h>

/* Where things are; absolute paths. */
struct places {
    char library[PATH_MAX];      /* the start library, or where it would be if it is linked in */
    char packages[PATH_MAX];     /* the directory that contains the package ocipy */
    char dependencies[PATH_MAX]; /* the directory of the packages that ocipy needs; may be the same */
    char frozen[PATH_MAX];       /* the frozen file */
    char snapshot[PATH_MAX];     /* the snapshot, if there is one */
};

/* places.c: fills in the places. 0; -1 if a path is too long. */
int find_places(const char *library, struct places *places);

/* Finds the executable that a user would call. 0, or -1. */
int find_callable(const struct places *places, char executable[PATH_MAX]);

/* Maps the frozen file and makes its modules importable. 0, or -1 after reporting the reason. */
int load_frozen(const char *path);

/* Makes Python forget the frozen modules. Those not loaded yet will come from files. */
void forget_frozen(void);

/* Imports all frozen modules. 0, or -1 with an exception. */
int import_frozen(void);

/* The entry of a module in the frozen file, or NULL. */
const struct _frozen *find_frozen(const char *name);

/* importer.c: replaces __import__ with a function that imports frozen modules faster than importlib does; restores it.
 * 0, or -1 with an exception. The third: whether it is replaced now. */
int take_over_imports(void);
int give_back_imports(void);
int imports_are_ours(void);

/* Starts Python up to its core phase, or completely if this Python has no such phase. Keeps a pointer to the places.
 * Exits on failure. */
void start_python(const struct places *places);

/* Adds the built-in modules ocipy.linux._kernel and ocipy.launcher._start. 0, or -1 with an exception. */
int add_builtin_modules(const struct places *places);

/* Starts Python and prepares the import of our modules. 0; or -1 after reporting the reason, or with an exception. */
int start_fresh(const struct places *places);

/* Sets _start.argv to this process's arguments. 0, or -1 with an exception. */
int set_arguments(int argc, char **argv);

/* The end of this process's stack, if the launcher mapped this process; otherwise 0, and libc knows it. */
extern uintptr_t stack_top;

/* Adapts the snapshot's Python to this process, in which it is the child of a fork. 0, or -1 with an exception. */
int resume_python(PyThreadState *thread, const struct places *places);

/* The same in a process that has the maker's glibc too, and so the same thread: it has the same thread control block,
 * whose address is the thread's identity, and all locks are as the maker left them. */
int resume_same_thread(PyThreadState *thread, const struct places *places);

/* Why this process has not started from a snapshot; NULL if it has. */
extern const char *slow_reason;

/* What happens next because of that, or "". */
const char *next_start(const struct places *places);

/* Why sealed commands do not start from the snapshot: no overlay can be mounted. NULL if they do start from it. */
const char *sealed_obstacle(const struct places *places);

/* Why `ocipy setup` cannot make a snapshot; NULL if it can. */
const char *setup_obstacle(const struct places *places);

/* Runs the exit handlers and flushes the streams, if the start was completed. 0, or -1 on failure. */
int finish_python(void);

#endif
