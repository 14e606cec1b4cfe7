/* Why this process, sealed commands or the next process cannot start from a snapshot. */
#include "launcher.h"
#include "snapshot.h"

#include <string.h>

const char *slow_reason;

#ifdef OCIPY_SNAPSHOT
const char *next_start(const struct places *places) {
#ifdef OCIPY_PACKAGES
    return "make build makes one";
#else
    if (has_snapshot(places))
        return "other commands have one";
    const char *obstacle = snapshot_obstacle(places);
    return obstacle ? obstacle : "one is made when this command ends";
#endif
}

const char *sealed_obstacle(const struct places *places) {
    char directory[PATH_MAX];
    strcpy(directory, places->snapshot);
    *strrchr(directory, '/') = '\0';
    return overlay_obstacle(directory);
}

const char *setup_obstacle(const struct places *places) {
    return making_obstacle(places->snapshot);
}
#else
const char *next_start(const struct places *places) {
    return "";
}
const char *sealed_obstacle(const struct places *places) {
    return OCIPY_NO_SNAPSHOT;
}
const char *setup_obstacle(const struct places *places) {
    return OCIPY_NO_SNAPSHOT;
}
#endif
