/* The parts of the start library.
 *
 * Set at build time, all absolute: OCIPY_STDLIB, OCIPY_DYNLOAD (the standard library's extension modules),
 * OCIPY_PREFIX, OCIPY_EXECUTABLE (the Python that it was built for); for a build in place also OCIPY_PACKAGES (the
 * directory that has the package ocipy), OCIPY_DEPENDENCIES (the private environment's site-packages), OCIPY_FROZEN and
 * OCIPY_SNAPSHOT_FILE. OCIPY_CORE_PHASE: this Python has PyConfig._init_main. OCIPY_SNAPSHOT: this is linked at fixed
 * addresses, so that there can be snapshots. */
#ifndef OCIPY_START_H
#define OCIPY_START_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <stdint.h>

/* Where things are, absolute. */
struct places {
    char packages[PATH_MAX];     /* the directory that has the package ocipy */
    char dependencies[PATH_MAX]; /* the directory that has the packages that ocipy needs; may be the same */
    char frozen[PATH_MAX];       /* the frozen file */
    char snapshot[PATH_MAX];     /* the snapshot, where there is one */
};

/* How the frozen file begins: freeze.py. */
struct frozen_header {
    char magic[8];
    uint32_t python; /* major and minor version: the bytecode is the same for all releases of one */
    uint32_t count;
    unsigned char digest[32]; /* of all that follows */
};

/* Maps the frozen file and makes its modules importable. 0, or -1 having said why not. */
int load_frozen(const char *path);

/* Makes the frozen modules unknown again: what is not loaded yet will come from files. */
void forget_frozen(void);

/* Imports all of them. 0, or -1 with an exception. */
int import_frozen(void);

/* The entry of a module in the frozen file; NULL if it is not there. */
const struct _frozen *find_frozen(const char *name);

/* Has frozen modules imported by a shorter way than importlib's, and back. 0, or -1 with an exception. */
int take_over_imports(void);
int give_back_imports(void);
int imports_are_ours(void);

/* Starts Python up to its core phase (or all of it, where there is no core phase). The places are kept. Exits if that
 * fails. */
void start_python(const struct places *places);

/* Adds the built-in modules ocipy.linux._kernel and ocipy.launcher._start. 0, or -1 with an exception. */
int add_builtin_modules(const struct places *places);

/* Tells Python the command line of this process. 0, or -1 with an exception. */
int set_arguments(int argc, char **argv);

/* Makes the Python of a snapshot that of this process. 0, or -1 with an exception. */
int resume_python(PyThreadState *thread, const struct places *places);

/* Where the start has been completed there are streams to flush and handlers to run at the exit. -1 if that has failed.
 */
int finish_python(void);

#endif
