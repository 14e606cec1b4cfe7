/* Finds the parts of an installation relative to each other.
 *
 * The build sets OCIPY_START_UP, the number of directories from the executable up to the common parent of executable
 * and start library; and OCIPY_START_BELOW and OCIPY_EXECUTABLE_BELOW, their paths below that parent. Installers of a
 * wheel may use other directories: pip as root uses Debian's dist-packages, Fedora lib64. OCIPY_PYTHON: "3.11". */
#include "launcher.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define PLACE "/ocipy/launcher/libocipy-start.so"

static const struct layout {
    int up; /* how many components to remove from the executable's path, its name included */
    const char *library, *executable;
} layouts[] = {
    {OCIPY_START_UP, OCIPY_START_BELOW, OCIPY_EXECUTABLE_BELOW},
    {2, "/lib/python" OCIPY_PYTHON "/site-packages" PLACE, "/bin/ocipy"},
    {2, "/lib64/python" OCIPY_PYTHON "/site-packages" PLACE, "/bin/ocipy"},
    {2, "/lib/python" OCIPY_PYTHON "/dist-packages" PLACE, "/bin/ocipy"},
    {2, "/lib/python3/dist-packages" PLACE, "/bin/ocipy"},
    {2, PLACE, "/bin/ocipy"},        /* pip install --target */
    {1, "/libocipy-start.so", NULL}, /* ocipy-python */
};
enum { LAYOUTS = sizeof(layouts) / sizeof(*layouts) };

static void apply(const struct layout *layout, const char *executable, char *library) {
    strcpy(library, executable);
    for (int i = 0; i < layout->up; i++) {
        char *slash = strrchr(library, '/');
        if (slash)
            *slash = '\0';
    }
    if (strlen(library) + strlen(layout->library) < PATH_MAX)
        strcat(library, layout->library);
}

void library_of_executable(const char *executable, char *library) {
    const struct layout *closed = NULL; /* one that this user may not look into */
    for (size_t i = 0; i < LAYOUTS; i++) {
        apply(&layouts[i], executable, library);
        if (access(library, F_OK) == 0)
            return;
        if (!closed && !is_missing(errno))
            closed = &layouts[i];
    }
    apply(closed ? closed : &layouts[0], executable, library); /* for the error message */
}

int executable_of_library(const char *library, char *executable) {
    for (size_t i = 0; i < LAYOUTS; i++) {
        const struct layout *layout = &layouts[i];
        size_t size = strlen(library), tail = strlen(layout->library);
        if (!layout->executable || size < tail || strcmp(library + size - tail, layout->library) ||
            size - tail + strlen(layout->executable) >= PATH_MAX)
            continue;
        memcpy(executable, library, size - tail);
        strcpy(executable + size - tail, layout->executable);
        if (access(executable, X_OK) == 0)
            return 0;
    }
    return -1;
}
