/* Where the parts of the runtime are. */
#include "launcher.h"
#include "start.h"

#include <string.h>

#ifdef OCIPY_PACKAGES
int find_places(const char *library, struct places *places) {
    strcpy(places->library, library);
    strcpy(places->packages, OCIPY_PACKAGES);
    strcpy(places->dependencies, OCIPY_DEPENDENCIES);
    strcpy(places->frozen, OCIPY_FROZEN);
    strcpy(places->snapshot, OCIPY_SNAPSHOT_FILE);
    return 0;
}
#else
/* The library is ocipy/launcher/libocipy-start.so below the packages directory. */
int find_places(const char *library, struct places *places) {
    static const char frozen[] = "/ocipy/launcher/_frozen.bin", snapshot[] = "/ocipy/launcher/" SNAPSHOT_NAME;
    if (strlen(library) + sizeof(snapshot) > PATH_MAX)
        return -1;
    strcpy(places->library, library);
    strcpy(places->packages, library);
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(places->packages, '/');
        if (!slash)
            return -1;
        *slash = '\0';
    }
    strcpy(places->dependencies, places->packages);
    strcpy(places->frozen, places->packages);
    strcat(places->frozen, frozen);
    strcpy(places->snapshot, places->packages);
    strcat(places->snapshot, snapshot);
    return 0;
}
#endif

int find_callable(const struct places *places, char executable[PATH_MAX]) {
    if (find_own_path(executable))
        return -1;
#ifndef OCIPY_PACKAGES
    size_t directory = strrchr(places->library, '/') - places->library;
    /* A sealed process runs from a memfd or an overlay, and ocipy-python is next to the start library. */
    if (strrchr(executable, '/') == executable || !strncmp(executable, places->library, directory + 1))
        return executable_of_library(places->library, executable);
#endif
    return 0;
}
