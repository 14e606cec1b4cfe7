/* The checks that both the runtime and the launcher make before they map a snapshot. */
#include "snapshot_format.h"

#include "frozen_format.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int read_digest(const char *frozen, unsigned char digest[32]) {
    struct frozen_header header;
    int file = open(frozen, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return -1;
    ssize_t size = read(file, &header, sizeof(header));
    close(file);
    memcpy(digest, header.digest, sizeof(header.digest));
    return size == sizeof(header) ? 0 : -1;
}

int has_build_id(int file, uint64_t at, const unsigned char id[BUILD_ID_SIZE]) {
    unsigned char there[BUILD_ID_SIZE];
    return pread(file, there, sizeof(there), (off_t)at) == sizeof(there) && !memcmp(there, id, sizeof(there));
}

const char *fault_of_header(const struct header *header, uint64_t file_size, const char *packages, const char *frozen) {
    unsigned char modules[sizeof(header->modules)];
    if (memcmp(header->magic, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC)) || file_size != header->file_size ||
        header->heap.size > file_size || header->heap_at > file_size - header->heap.size ||
        DATA_AT + header->data.size > header->heap_at)
        return "the snapshot is from another build";
    if (strncmp(header->packages, packages, sizeof(header->packages)))
        return "the snapshot was made in another directory";
    if (read_digest(frozen, modules) || memcmp(header->modules, modules, sizeof(modules)))
        return "the snapshot was made from other modules";
    return NULL;
}
