/* Writing and mapping a snapshot.
 *
 * The executable is linked at fixed addresses, so its data is at the same address in every process; the heap is also
 * at a fixed address (heap.c). Together they contain a started Python: the interpreter, its types, all modules. The
 * snapshot is mapped privately, so a page is copied when something writes to it. What this file maps excludes libc's
 * state (its data, the thread control block, the relocated function table): to libc the process is new, and to Python
 * it is the child of a fork, which PyOS_AfterFork_Child fixes up (python_start.c). */
#include "snapshot.h"

#include "launcher.h"
#include "machine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE, MAX_COPIES = 32, MAX_COPY = 64 };

#ifdef __aarch64__
enum { COPY_RELOCATION = R_AARCH64_COPY };
#else
enum { COPY_RELOCATION = R_X86_64_COPY };
#endif

/* libc's variables that live in our data because of copy relocations (stdin, environ): they belong to the process. */
struct copies {
    int count;
    struct {
        char *place;
        size_t size;
        char value[MAX_COPY];
    } of[MAX_COPIES];
};

static int keep_copies(struct copies *copies) {
    const ElfW(Rela) *relocation = NULL;
    const ElfW(Sym) *symbols = NULL;
    size_t size = 0;
    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_RELA)
            relocation = (const void *)entry->d_un.d_ptr;
        else if (entry->d_tag == DT_RELASZ)
            size = entry->d_un.d_val;
        else if (entry->d_tag == DT_SYMTAB)
            symbols = (const void *)entry->d_un.d_ptr;
    }
    copies->count = 0;
    for (const ElfW(Rela) *end = (const void *)((const char *)relocation + size); relocation < end; relocation++) {
        if (ELF64_R_TYPE(relocation->r_info) != COPY_RELOCATION)
            continue;
        size_t length = symbols[ELF64_R_SYM(relocation->r_info)].st_size;
        if (copies->count == MAX_COPIES || length > MAX_COPY)
            return -1;
        copies->of[copies->count].place = (char *)relocation->r_offset;
        copies->of[copies->count].size = length;
        memcpy(copies->of[copies->count].value, (char *)relocation->r_offset, length);
        copies->count++;
    }
    return 0;
}

static void restore_copies(const struct copies *copies) {
    for (int i = 0; i < copies->count; i++)
        memcpy(copies->of[i].place, copies->of[i].value, copies->of[i].size);
}

/* The key under which Python keeps its thread state in libc's thread-specific data, or -1. */
static int find_key(const PyThreadState *thread) {
    for (pthread_key_t key = 0; key < PTHREAD_KEYS_MAX; key++)
        if (pthread_getspecific(key) == thread)
            return (int)key;
    return -1;
}

/* Allocates the same key in this process, where the first keys are still free. */
static int claim_key(pthread_key_t wanted, const PyThreadState *thread) {
    pthread_key_t key;
    do {
        if (pthread_key_create(&key, NULL) || key > wanted)
            return -1;
    } while (key < wanted);
    return pthread_setspecific(key, thread) ? -1 : 0;
}

static int write_all(int file, const void *from, size_t size) {
    while (size) {
        ssize_t written = write(file, from, size);
        if (written < 0)
            return -1;
        from = (const char *)from + written;
        size -= written;
    }
    return 0;
}

/* Chooses the offsets of all parts, first of those that do not begin at a huge page. Returns the size of the file. */
static uint64_t place_parts(union header_page headers[3]) {
    struct header *header = &headers[0].header;
    struct libraries *libraries = &headers[1].libraries;
    uint64_t at = DATA_AT + header->data.size;
    for (int huge = 0; huge <= 1; huge++)
        for (uint32_t i = 0; i < libraries->memory_count; i++) {
            struct segment *part = &libraries->memory[i];
            if (is_huge(part->start, part->size) != huge)
                continue;
            part->offset = huge ? round_up(at, HUGE_PAGE) : at;
            at = part->offset + part->size;
        }
    header->heap_at = round_up(at, HUGE_PAGE);
    return header->heap_at + header->heap.size;
}

/* Writes everything at once, so that the kernel caches it in folios as large as possible. */
static int write_parts(int file, const union header_page headers[3]) {
    const struct header *header = &headers[0].header;
    const struct libraries *libraries = &headers[1].libraries;
    char *image =
        mmap(NULL, header->file_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (image == MAP_FAILED)
        return -1;
    memcpy(image, headers, SNAPSHOT_HEADERS);
    memcpy(image + DATA_AT, (void *)header->data.start, header->data.size);
    for (uint32_t i = 0; i < libraries->memory_count; i++)
        memcpy(image + libraries->memory[i].offset, (void *)libraries->memory[i].start, libraries->memory[i].size);
    memcpy(image + header->heap_at, (void *)header->heap.start, header->heap.size);
    int failed = write_all(file, image, header->file_size);
    munmap(image, header->file_size);
    return failed;
}

int write_snapshot(int file, const char *path, PyThreadState *thread, const struct places *places,
                   resume_function *resume) {
    union header_page headers[3] = {{.header = {.data = data_extent(), .thread = (uintptr_t)thread}}};
    struct header *header = &headers[0].header;
    const unsigned char *id = build_id();
    int key = find_key(thread);
    if (!id || key < 0 || strlen(places->packages) >= sizeof(header->packages) ||
        read_digest(places->frozen, header->modules) || !data_is_apart()) {
        dprintf(STDERR_FILENO, "ocipy: this executable cannot have a snapshot\n");
        return -1;
    }
    memcpy(header->magic, SNAPSHOT_MAGIC, sizeof(SNAPSHOT_MAGIC));
    memcpy(header->build_id, id, BUILD_ID_SIZE);
    header->key = key;
    strcpy(header->packages, places->packages);
    end_recording(&header->heap);
#ifdef OCIPY_RESTORES
    record_libraries(&headers[1].libraries, places, build_id_offset(), resume);
#endif
    header->file_size = place_parts(headers);
    /* end_snapshot replaces the old file by rename: inits that are waiting now have it mapped. */
    int written = write_parts(file, headers) == 0;
    if (!written)
        give_up_snapshot(file);
    if (!written || end_snapshot(file, path)) {
        complain("cannot write the snapshot", path);
        return -1;
    }
    return 0;
}

/* Reads the header of a snapshot, which must be trustworthy, up to date and complete. NULL, or what is wrong with it.
 */
static const char *read_header(int file, const struct places *places, struct header *header) {
    struct stat about;
    const unsigned char *id = build_id();
    struct extent data = data_extent();
    if (sysconf(_SC_PAGESIZE) != PAGE)
        return "the kernel's pages are not 4 KiB";
    if (fstat(file, &about) || about.st_size == 0) /* packages contain an empty one */
        return "there is no snapshot yet";
    const char *reason = distrust(places->snapshot, &about);
    if (reason)
        return reason_of("the snapshot ", reason);
    if (pread(file, header, sizeof(*header), 0) != sizeof(*header) || !id ||
        memcmp(header->build_id, id, BUILD_ID_SIZE) || memcmp(&header->data, &data, sizeof(data)))
        return "the snapshot is from another build";
    return fault_of_header(header, about.st_size, places->packages, places->frozen);
}

/* Why this machine cannot use the libraries in an otherwise valid snapshot; NULL if it can, or if the snapshot has no
 * libraries. */
static const char *libraries_fault(int file, const struct header *header) {
#ifdef OCIPY_RESTORES
    union header_page page;
    if (pread(file, &page, sizeof(page), PAGE) != sizeof(page))
        return "the snapshot is from another build";
    return has_libraries(&page.libraries, header->file_size) ? fault_of_libraries(&page.libraries) : NULL;
#else
    return NULL;
#endif
}

int has_snapshot(const struct places *places) {
    struct header header;
    int file = open(places->snapshot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const char *fault = file < 0 ? "" : read_header(file, places, &header);
    if (!fault)
        fault = libraries_fault(file, &header);
    if (file >= 0)
        close(file);
    return !fault;
}

PyThreadState *map_snapshot(const struct places *places, const char **reason) {
    struct header header;
    struct copies copies;
    /* If this process was executed from an overlay, use the snapshot there: nobody can write to it. */
    int file = handed_snapshot >= 0 ? handed_snapshot : open(places->snapshot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        *reason = is_missing(errno) ? "there is no snapshot yet"
                                    : reason_of("the snapshot cannot be read: ", strerror(errno));
        return NULL;
    }
    *reason = read_header(file, places, &header);
    if (!*reason && (keep_copies(&copies) || claim_key(header.key, (PyThreadState *)header.thread)))
        *reason = "a library loaded into this process conflicts with the snapshot";
    if (*reason) {
        close(file);
        return NULL;
    }
    if (map_heap_and_data(file, &header, MAP_FIXED)) {
        complain("cannot map", places->snapshot); /* out of memory, perhaps with the old data already unmapped */
        _exit(1);
    }
    union header_page page;
    if (pread(file, &page, sizeof(page), TOUCHED_AT) == sizeof(page))
        copy_touched(&page.touched[BY_EVERY_COMMAND], header.data, header.heap);
    restore_copies(&copies);
    *reason = libraries_fault(file, &header);
    close(file);
    return (PyThreadState *)header.thread;
}

void note_touched(const struct places *places, int list) {
    struct header header;
    union header_page page;
    int file = open(places->snapshot, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return;
    if (!read_header(file, places, &header) && pread(file, &page, sizeof(page), TOUCHED_AT) == sizeof(page) &&
        !page.touched[list].count &&
        !find_touched(&page.touched[list], &page.touched[BY_EVERY_COMMAND], header.data, header.heap))
        (void)!pwrite(file, &page, sizeof(page), TOUCHED_AT);
    close(file);
}
