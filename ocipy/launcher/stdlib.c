/* Checks that the standard library of the Python that this was built for exists and that this user can read it.
 * Otherwise Python's start would end the process with a "Fatal Python error". */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *python_fault(const char **advice) {
    static const struct {
        const char *path;
        int mode;
    } needed[] = {{OCIPY_STDLIB, R_OK | X_OK},
                  {OCIPY_STDLIB "/encodings", R_OK | X_OK},
                  {OCIPY_STDLIB "/encodings/__init__.py", R_OK}};
    static char fault[sizeof(OCIPY_STDLIB) + 128];
    for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++) {
        if (faccessat(AT_FDCWD, needed[i].path, needed[i].mode, AT_EACCESS) == 0)
            continue;
        int gone = is_missing(errno);
        snprintf(fault, sizeof(fault), "built for the Python in " OCIPY_STDLIB ", which %s%s",
                 gone ? "is gone" : "cannot be read: ", gone ? "" : strerror(errno));
        *advice = gone ? "install ocipy again, for the current Python"
                       : "let this user read it, or install ocipy with a Python that every user can read";
        return fault;
    }
    return NULL;
}
