/* Reads the file of frozen modules: the hot modules, compiled by freeze.py, which describes the format. The file is
 * code, so it is checked like code. */
#include "launcher.h"
#include "start.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct entry {
    char name[60];
    uint32_t is_package;
    uint32_t offset, size; /* of the code: its place in the file */
    char digest[32];       /* of the source, for freeze.py to detect stale entries */
};

static const char MAGIC[8] = {'o', 'c', 'i', 'p', 'y', 'f', 'z', '2'};

static int refuse(const char *path, const char *reason) {
    dprintf(STDERR_FILENO, "ocipy: refusing to load %s: it %s\n", path, reason);
    return -1;
}

static const char *what_is_wrong(const char *file, size_t size) {
    const struct frozen_header *header = (const void *)file;
    if (size < sizeof(*header) || memcmp(header->magic, MAGIC, sizeof(MAGIC)))
        return "is not a file of frozen modules";
    if (header->python != Py_Version >> 16)
        return "was built for another Python; build or install ocipy again";
    const struct entry *entries = (const void *)(header + 1);
    if (header->count > (size - sizeof(*header)) / sizeof(*entries))
        return "is cut off";
    for (const struct entry *entry = entries; entry < entries + header->count; entry++)
        if (entry->offset > size || entry->size > size - entry->offset ||
            !memchr(entry->name, '\0', sizeof(entry->name)))
            return "is cut off";
    return NULL;
}

static int make_table(const char *file) {
    const struct frozen_header *header = (const void *)file;
    const struct entry *entries = (const void *)(header + 1);
    struct _frozen *table = calloc(header->count + 1, sizeof(*table));
    if (!table)
        return -1;
    for (uint32_t i = 0; i < header->count; i++) {
        table[i].name = entries[i].name;
        table[i].code = (const unsigned char *)file + entries[i].offset;
        table[i].size = (int)entries[i].size;
        table[i].is_package = (int)entries[i].is_package;
    }
    PyImport_FrozenModules = table;
    return 0;
}

int load_frozen(const char *path) {
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &about) < 0) {
        complain_of_part(path);
        return -1;
    }
    const char *reason = distrust(path, &about);
    char *file = MAP_FAILED;
    if (!reason) {
        file = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        reason = file == MAP_FAILED ? "cannot be mapped" : what_is_wrong(file, about.st_size);
    }
    close(fd);
    return reason ? refuse(path, reason) : make_table(file);
}

void forget_frozen(void) {
    free((void *)PyImport_FrozenModules);
    PyImport_FrozenModules = NULL;
}

int import_frozen(void) {
    for (const struct _frozen *entry = PyImport_FrozenModules; entry && entry->name; entry++) {
        if (entry->name[0] == '<') /* a group, whose modules have their own entries too */
            continue;
        PyObject *module = PyImport_ImportModule(entry->name);
        if (!module)
            return -1;
        Py_DECREF(module);
    }
    return 0;
}

const struct _frozen *find_frozen(const char *name) {
    for (const struct _frozen *entry = PyImport_FrozenModules; entry && entry->name; entry++)
        if (!strcmp(entry->name, name))
            return entry;
    return NULL;
}
