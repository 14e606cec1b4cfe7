/* A snapshot's header is refused, or the pages that it lists are in its extents. The first byte of the input says which
 * fields are corrected first, so that the fuzzer reaches each check: no field is correct by chance. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

static int check_range(void *start, size_t size, int advice);
#define madvise check_range
#define PAGE    PAGE_OF_TOUCHED
#include "../../ocipy/launcher/touched.c"
#undef PAGE
#undef madvise
#include "../../ocipy/launcher/snapshot.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RIGHT_MAGIC = 1,
    RIGHT_BUILD = 2,
    RIGHT_DATA = 4,
    RIGHT_SIZE = 8,
    RIGHT_MODULES = 16,
    RIGHT_PACKAGES = 32,
    SMALL_HEAP = 64
};

int handed_snapshot = -1;
static struct extent data_part, heap_part;

void end_recording(struct extent *heap) {
    *heap = (struct extent){0};
}

int end_snapshot(int file, const char *path) {
    return 0;
}

void give_up_snapshot(int file) {}

/* Whether mmap(2) could have succeeded there; otherwise nothing is copied. User space ends before 1 << 56 on every
 * machine. */
static int can_be_mapped(struct extent extent) {
    uint64_t most = (uint64_t)1 << 56;
    return extent.size && extent.start % PAGE == 0 && extent.start < most && extent.size < most - extent.start;
}

static int is_in(struct extent extent, uint64_t start, uint64_t size) {
    return start >= extent.start && size <= extent.size && start - extent.start <= extent.size - size;
}

static int check_range(void *start, size_t size, int advice) {
    if (advice != MADV_POPULATE_WRITE ||
        !(is_in(data_part, (uintptr_t)start, size) || is_in(heap_part, (uintptr_t)start, size)))
        abort();
    return 0;
}

static struct places places = {.packages = "/packages"};

static void make_frozen(void) {
    struct frozen_header header = {.digest = "digest of the modules"};
    snprintf(places.frozen, sizeof(places.frozen), "/tmp/ocipy-fuzz-frozen.%d", (int)getpid());
    int file = open(places.frozen, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || write_all(file, &header, sizeof(header)) || close(file))
        abort();
}

static void remove_frozen(void) {
    unlink(places.frozen);
}

static void make_right(struct header *header, uint8_t which) {
    if (which & RIGHT_MAGIC)
        memcpy(header->magic, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC));
    if (which & RIGHT_BUILD && build_id())
        memcpy(header->build_id, build_id(), BUILD_ID_SIZE);
    if (which & RIGHT_DATA)
        header->data = data_extent();
    if (which & RIGHT_MODULES)
        read_digest(places.frozen, header->modules);
    if (which & RIGHT_PACKAGES)
        strcpy(header->packages, places.packages);
    if (which & SMALL_HEAP)
        header->heap.size = header->heap.size % 4096 * PAGE;
    if (which & RIGHT_SIZE) {
        header->heap_at = DATA_AT + header->data.size;
        header->file_size = header->heap_at + header->heap.size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct header header = {0};
    struct touched touched = {0};
    if (!*places.frozen) {
        make_frozen();
        atexit(remove_frozen);
    }
    if (!size)
        return 0;
    size--;
    size_t first = size < sizeof(touched) ? size : sizeof(touched), rest = size - first;
    memcpy(&touched, data + 1, first);
    memcpy(&header, data + 1 + first, rest < sizeof(header) ? rest : sizeof(header));
    make_right(&header, *data);
    int file = memfd_create("snapshot", MFD_CLOEXEC);
    if (file < 0 || fchmod(file, 0600) || write_all(file, &header, sizeof(header)))
        abort();
    if (*data & RIGHT_SIZE)
        (void)!ftruncate(file, (off_t)header.file_size);
    if (!read_header(file, &places, &header) && can_be_mapped(header.heap)) {
        data_part = header.data;
        heap_part = header.heap;
        copy_touched(&touched, header.data, header.heap);
    }
    close(file);
    return 0;
}
