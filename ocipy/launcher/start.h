/* The parts of the start library.
 *
 * Set at build time, all absolute: OCIPY_STDLIB, OCIPY_DYNLOAD (the standard library's extension modules),
 * OCIPY_PREFIX, OCIPY_EXECUTABLE (the Python that it was built for); for a build in place also OCIPY_PACKAGES (the
 * directory that contains the package ocipy), OCIPY_DEPENDENCIES (the private environment's site-packages),
 * OCIPY_FROZEN and OCIPY_SNAPSHOT_FILE. OCIPY_CORE_PHASE: this Python has PyConfig._init_main. OCIPY_SNAPSHOT: this
 * is linked at fixed addresses, so snapshots are possible; otherwise OCIPY_NO_SNAPSHOT is the reason. OCIPY_SITES: the
 * directories of this Python's packages, separated by colons, for an installation outside of any environment. */
#ifndef OCIPY_START_H
#define OCIPY_START_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "frozen_format.h"

#include <limits.h>
#include <stdint.h>

/* Where things are; absolute paths. */
struct places {
    char library[PATH_MAX];      /* the start library, or its place */
    char packages[PATH_MAX];     /* the directory that contains the package ocipy */
    char dependencies[PATH_MAX]; /* the directory of the packages that ocipy needs; may be the same */
    char frozen[PATH_MAX];       /* the frozen file */
    char snapshot[PATH_MAX];     /* the snapshot, if there is one */
};

/* Maps the frozen file and makes its modules importable. 0, or -1 after reporting the reason. */
int load_frozen(const char *path);

/* Makes Python forget the frozen modules: those not loaded yet will come from files. */
void forget_frozen(void);

/* Imports all of them. 0, or -1 with an exception. */
int import_frozen(void);

/* The entry of a module in the frozen file, or NULL. */
const struct _frozen *find_frozen(const char *name);

/* Imports frozen modules by a shorter way than importlib's, and restores importlib's way. 0, or -1 with an
 * exception. */
int take_over_imports(void);
int give_back_imports(void);
int imports_are_ours(void);

/* Starts Python up to its core phase (or completely, if it has none). Keeps a reference to the places. Exits on
 * failure. */
void start_python(const struct places *places);

/* Adds the built-in modules ocipy.linux._kernel and ocipy.launcher._start. 0, or -1 with an exception. */
int add_builtin_modules(const struct places *places);

/* Gives Python the command line of this process. 0, or -1 with an exception. */
int set_arguments(int argc, char **argv);

/* The end of this process's stack, if the launcher knows it better than libc; otherwise 0. */
extern uintptr_t stack_top;

/* Makes the snapshot's Python that of this process. 0, or -1 with an exception. */
int resume_python(PyThreadState *thread, const struct places *places);

/* The reason why this process has not started from a snapshot; NULL if it has. And the consequence, or "". */
extern const char *slow_reason;
const char *next_start(const struct places *places);

/* start.c: the path of the executable that a caller would execute. 0, or -1. */
int find_callable(const struct places *places, char executable[PATH_MAX]);

/* Why commands that are sealed, which takes an overlay, do not start from the snapshot; NULL if they do. */
const char *sealed_obstacle(const struct places *places);

/* The reason why `ocipy setup` cannot make a snapshot; NULL if it can. */
const char *setup_obstacle(const struct places *places);

/* If the start was completed, flushes the streams and runs the exit handlers. -1 if that failed. */
int finish_python(void);

#endif
