/* Writing and mapping a snapshot.
 *
 * The executable is linked at fixed addresses, so its data is at the same place in every process; the heap is also
 * put at a fixed address (heap.c). Together they contain a started Python: the interpreter, its types, the hot
 * modules. The snapshot is mapped privately, so a page is copied when something writes to it. It excludes everything
 * that libc keeps (its own data, the thread's block, the relocated table of functions): to libc the process is a new
 * one, and to Python it is the child of a fork, which PyOS_AfterFork_Child sets right (python_start.c). */
#include "snapshot.h"

#include "launcher.h"

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

enum { PAGE = 4096, BUILD_ID_SIZE = 20, MAX_COPIES = 32, MAX_COPY = 64 };

#ifdef __aarch64__
enum { COPY_RELOCATION = R_AARCH64_COPY };
#else
enum { COPY_RELOCATION = R_X86_64_COPY };
#endif

struct header {
    char magic[8];
    unsigned char build_id[BUILD_ID_SIZE]; /* of the executable */
    uint32_t key;                          /* of Python's thread-specific value, allocated by libc */
    struct extent data, heap;
    uint64_t thread;           /* address of the PyThreadState */
    unsigned char modules[32]; /* the frozen file's digest */
    struct touched touched;
    char packages[2048]; /* the directory of modules outside the snapshot: a copy elsewhere is useless */
};

union first_page {
    struct header header;
    char page[PAGE];
};

static const char MAGIC[8] = {'o', 'c', 'i', 'p', 'y', 's', 'n', '3'};

/* Page-aligned, so that the linker starts our data on a new page: libc's addresses are before it. */
static char page_of_data[PAGE] __attribute__((aligned(PAGE), used, section(".data"))) = {1};

extern char __data_start[], _end[];
extern const ElfW(Ehdr) __ehdr_start;

struct extent data_extent(void) {
    uintptr_t start = (uintptr_t)__data_start & -PAGE, end = ((uintptr_t)_end + PAGE - 1) & -PAGE;
    return (struct extent){start, end - start};
}

/* The build id, the linker's digest of everything that it has linked. NULL if there is none. */
static const unsigned char *build_id(void) {
    const ElfW(Phdr) *segment = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        if (segment[i].p_type != PT_NOTE)
            continue;
        const char *at = (const char *)segment[i].p_vaddr, *end = at + segment[i].p_memsz;
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            const ElfW(Nhdr) *note = (const void *)at;
            const char *name = at + sizeof(*note), *content = name + ((note->n_namesz + 3) & -4);
            if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz == BUILD_ID_SIZE && !memcmp(name, "GNU", 4))
                return (const unsigned char *)content;
            at = content + ((note->n_descsz + 3) & -4);
        }
    }
    return NULL;
}

int is_this_build(int file) {
    unsigned char there[BUILD_ID_SIZE];
    const unsigned char *id = build_id();
    off_t at = id ? id - (const unsigned char *)&__ehdr_start : 0; /* the first segment is the file's beginning */
    return id && pread(file, there, sizeof(there), at) == sizeof(there) && !memcmp(there, id, sizeof(there));
}

/* libc's variables that the linker has copied into our data (stdin, environ): their values belong to the process. */
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

static int write_parts(int file, const union first_page *first) {
    const struct header *header = &first->header;
    return write_all(file, first, sizeof(*first)) || write_all(file, (void *)header->data.start, header->data.size) ||
                   write_all(file, (void *)header->heap.start, header->heap.size)
               ? -1
               : 0;
}

/* The digest at the beginning of the frozen file. */
static int read_digest(const char *frozen, unsigned char digest[32]) {
    struct frozen_header header;
    int file = open(frozen, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return -1;
    ssize_t size = read(file, &header, sizeof(header));
    close(file);
    memcpy(digest, header.digest, sizeof(header.digest));
    return size == sizeof(header) ? 0 : -1;
}

int write_snapshot(int file, const char *path, PyThreadState *thread, const struct places *places) {
    union first_page first = {.header = {.data = data_extent(), .thread = (uintptr_t)thread}};
    struct header *header = &first.header;
    const unsigned char *id = build_id();
    int key = find_key(thread);
    if (!id || key < 0 || strlen(places->packages) >= sizeof(header->packages) ||
        read_digest(places->frozen, header->modules) || (uintptr_t)__data_start % PAGE) {
        dprintf(STDERR_FILENO, "ocipy: this executable cannot have a snapshot\n");
        return -1;
    }
    memcpy(header->magic, MAGIC, sizeof(MAGIC));
    memcpy(header->build_id, id, BUILD_ID_SIZE);
    header->key = key;
    strcpy(header->packages, places->packages);
    end_recording(&header->heap);
    /* By rename: an older one is mapped by the inits that wait at this moment. */
    int written = write_parts(file, &first) == 0;
    if (!written)
        give_up_snapshot(file);
    if (!written || end_snapshot(file, path)) {
        complain("cannot write the snapshot", path);
        return -1;
    }
    return 0;
}

/* The header of a snapshot that is our own, up to date and complete. NULL, or what is wrong with the snapshot. */
static const char *read_header(int file, const struct places *places, struct header *header) {
    struct stat about;
    unsigned char modules[sizeof(header->modules)];
    const unsigned char *id = build_id();
    struct extent data = data_extent();
    if (sysconf(_SC_PAGESIZE) != PAGE)
        return "the kernel's pages are not of 4 kB";
    if (fstat(file, &about) || about.st_size == 0) /* packages contain an empty one */
        return "there is no snapshot yet";
    const char *reason = distrust(places->snapshot, &about);
    if (reason)
        return reason_of("the snapshot ", reason);
    if (pread(file, header, sizeof(*header), 0) != sizeof(*header) || memcmp(header->magic, MAGIC, sizeof(MAGIC)) ||
        !id || memcmp(header->build_id, id, BUILD_ID_SIZE) || memcmp(&header->data, &data, sizeof(data)) ||
        (uint64_t)about.st_size != PAGE + header->data.size + header->heap.size)
        return "the snapshot is of another build";
    if (strncmp(header->packages, places->packages, sizeof(header->packages)))
        return "the snapshot was made at another place";
    if (read_digest(places->frozen, modules) || memcmp(header->modules, modules, sizeof(modules)))
        return "the snapshot is of other modules";
    return NULL;
}

int has_snapshot(const struct places *places) {
    struct header header;
    int file = open(places->snapshot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const char *fault = file < 0 ? "" : read_header(file, places, &header);
    if (file >= 0)
        close(file);
    return !fault;
}

static int map(int file, struct extent extent, off_t at, int how) {
    void *place = (void *)extent.start;
    return mmap(place, extent.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | how, file, at) == place ? 0 : -1;
}

PyThreadState *map_snapshot(const struct places *places, const char **reason) {
    struct header header;
    struct copies copies;
    /* The one on the overlay, if this process was executed from there: nobody can write to it. */
    int file = handed_snapshot >= 0 ? handed_snapshot : open(places->snapshot, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) {
        *reason = is_missing(errno) ? "there is no snapshot yet"
                                    : reason_of("the snapshot cannot be read: ", strerror(errno));
        return NULL;
    }
    *reason = read_header(file, places, &header);
    if (!*reason && (keep_copies(&copies) || claim_key(header.key, (PyThreadState *)header.thread)))
        *reason = "a library that is loaded into this process takes the snapshot's place";
    if (*reason) {
        close(file);
        return NULL;
    }
    if (map(file, header.heap, PAGE + header.data.size, MAP_FIXED_NOREPLACE) ||
        map(file, header.data, PAGE, MAP_FIXED)) {
        complain("cannot map", places->snapshot); /* out of memory, perhaps after the old data was unmapped */
        _exit(1);
    }
    copy_touched(&header.touched, header.data, header.heap);
    restore_copies(&copies);
    close(file);
    return (PyThreadState *)header.thread;
}

void note_touched(const struct places *places) {
    struct header header;
    int file = open(places->snapshot, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return;
    if (!read_header(file, places, &header) && !find_touched(&header.touched, header.data, header.heap))
        (void)!pwrite(file, &header.touched, sizeof(header.touched), offsetof(struct header, touched));
    close(file);
}
