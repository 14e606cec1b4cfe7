/* This process's memory mappings, from /proc/self/maps. */
#include "maps.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int read_maps(char *text, size_t size) {
    int file = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t more = 0;
    while (file >= 0 && used < size - 1 && (more = read(file, text + used, size - 1 - used)) > 0)
        used += more;
    text[used] = '\0';
    if (file >= 0)
        close(file);
    return file < 0 || more ? -1 : 0;
}

/* START-END ACCESS OFFSET DEVICE INODE [PATH] */
int next_mapping(char **rest, struct mapping *mapping) {
    char *line = strsep(rest, "\n"), *at;
    if (!line || !*line)
        return -1;
    mapping->start = strtoul(line, &at, 16);
    mapping->end = strtoul(at + 1, &at, 16);
    mapping->access = at + 1;
    at = strpbrk(mapping->access, "/[");
    mapping->path = at ? at : "";
    return 0;
}
