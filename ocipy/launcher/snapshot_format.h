/* The format of a snapshot, for snapshot.c, libraries.c, and restore.c, which is not linked against glibc: three header
 * pages, the executable's data, the memory that libraries.c has recorded, and the heap.
 *
 * The executable's code and constants, and the heap, are at multiples of 2 MiB both in memory and in the file. So the
 * kernel can map a whole huge page of its page cache with one entry, and one page fault, if the filesystem caches files
 * in large folios. */
#ifndef OCIPY_SNAPSHOT_FORMAT_H
#define OCIPY_SNAPSHOT_FORMAT_H

#include <stdint.h>

enum { SNAPSHOT_PAGE = 4096, SNAPSHOT_HEADERS = 3 * SNAPSHOT_PAGE, TOUCHED_AT = 2 * SNAPSHOT_PAGE };
enum { BUILD_ID_SIZE = 20, MAX_RUNS = 256 };
enum { HUGE_PAGE = 2 << 20, DATA_AT = HUGE_PAGE, MAX_MEMORY = 48, MAX_FILES = 8, MAX_FILE_NAME = 104 };

/* A range of memory, in whole pages. */
struct extent {
    uint64_t start, size;
};

/* touched.c: runs of pages that commands write to. Page numbers count through the data, then the heap. */
struct touched {
    uint16_t count;
    struct {
        uint16_t first, pages;
    } runs[MAX_RUNS];
};

struct header {
    char magic[8];
    unsigned char build_id[BUILD_ID_SIZE]; /* of the executable */
    uint32_t key;                          /* pthread key under which Python keeps its thread state */
    struct extent data, heap;
    uint64_t heap_at; /* offset of the heap in the file; the data are at DATA_AT */
    uint64_t thread;  /* address of the PyThreadState */
    uint64_t file_size;
    unsigned char modules[32]; /* the frozen file's digest */
    char packages[2048];       /* the directory of the other modules: a copy of the snapshot elsewhere is useless */
};

static const char SNAPSHOT_MAGIC[8] = {'o', 'c', 'i', 'p', 'y', 's', 'n', '8'};

/* A part of the snapshot, in whole pages, and where it is mapped. */
struct segment {
    uint64_t start, size, offset;
    uint32_t protection, unused;
};

/* A library's file. It is recognized by its build id, since on some hosts that are installed from an image all files
 * have the same mtime. */
struct library {
    uint64_t build_id_at; /* offset of the build id in the file */
    unsigned char build_id[BUILD_ID_SIZE];
    uint32_t unused;
    char path[MAX_FILE_NAME];
};

/* The processor features by which glibc chooses its functions. */
struct cpu {
    uint32_t words[8];
};

/* The third page: the pages that every command writes to, and those that create and run, or exec, write to as well. */
enum { BY_EVERY_COMMAND, BY_CREATE, BY_EXEC, TOUCHED_LISTS };

/* The second page: what a process needs to start without ld.so and glibc's startup code. resume: address of the
 * function to continue with; 0 if this snapshot does not contain the libraries. */
struct libraries {
    uint64_t resume;
    uint64_t thread_block; /* the thread control block: the FS register */
    uint64_t thread_id;    /* address of the thread's id in that block */
    uint64_t build_id_at;  /* offset of the build id in the executable */
    struct cpu cpu;
    uint32_t memory_count, file_count;
    struct segment memory[MAX_MEMORY];
    struct library files[MAX_FILES];
};

union header_page {
    struct header header;
    struct libraries libraries;
    struct touched touched[TOUCHED_LISTS];
    char page[SNAPSHOT_PAGE];
};

_Static_assert(sizeof(union header_page) == SNAPSHOT_PAGE, "each of the headers fits on a page");

/* The digest at the beginning of the frozen file. 0 or -1. */
int read_digest(const char *frozen, unsigned char digest[32]);

/* Why a snapshot of this size must not be used with these modules; NULL if it may be. packages: as in the header;
 * frozen: the path of the frozen file. */
const char *fault_of_header(const struct header *header, uint64_t file_size, const char *packages, const char *frozen);

/* Whether a program or library has this build id at an offset in its file. */
int has_build_id(int file, uint64_t at, const unsigned char id[BUILD_ID_SIZE]);

/* Maps a segment of the snapshot. how: MAP_FIXED or MAP_FIXED_NOREPLACE. 0 or -1. */
int map_segment(int file, const struct segment *segment, int how);

/* Maps the heap, and the executable's data. how: for the data; nothing may be where the heap goes. 0 or -1. */
int map_heap_and_data(int file, const struct header *header, int how);

static inline uint64_t round_up(uint64_t size, uint64_t unit) {
    return (size + unit - 1) & -unit;
}

/* Whether a part of the snapshot consists of whole huge pages. */
static inline int is_huge(uint64_t start, uint64_t size) {
    return start % HUGE_PAGE == 0 && size % HUGE_PAGE == 0;
}

/* What the launcher passes to resume. If this changes, the magic must change too. It is on the stack that the kernel
 * made, which the process keeps. */
struct resumption {
    int argc;
    char **argv, **envp;
    const char *library;      /* the path of the start library */
    int snapshot, executable; /* open */
    int seals;                /* both are on an overlay: seal this process with them */
    uint64_t stack_top;
    const struct header *header;
    const struct libraries *libraries;
    const struct touched *touched; /* the lists */
    struct extent launcher;        /* the launcher's own memory */
};
typedef void resume_function(const struct resumption *from);

/* loader.c puts the libraries of a snapshot's maker somewhere in this area. It is free in every process, since the
 * kernel places mappings far above it. */
#define LIBRARIES_START 0x1080000000UL
#define LIBRARIES_END   0x1800000000UL
#define LIBRARIES_SIZE  (4UL << 30)

#endif
