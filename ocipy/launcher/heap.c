/* Allocates memory while a snapshot is recorded (snapshot.c): all of it from one region, which has the same addresses
 * in every process.
 *
 * malloc and its family are replaced for the whole executable (glibc's manual, "Replacing malloc"), since CPython gets
 * some structures from libc regardless of its allocators. After the recording glibc's functions do the work, except for
 * blocks in the region: these are never freed, and realloc copies them out. Python's own allocators, which put many
 * small blocks on a page, are replaced too until the recording ends.
 *
 * Blocks that commands will write to, if only to count references, are placed together, since each process has to copy
 * each page that it writes to. rehearsal.c finds these warm blocks. */
#include "snapshot.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

/* Far above an executable at fixed addresses and its brk(2) heap, and far below the area where mmap(2) allocates. */
#define REGION ((char *)0x1000000000)
enum {
    REGION_SIZE = 512 << 20,
    SIZE_TOGETHER = 128 << 20,
    ALIGNMENT = 16,
    PAGE = SNAPSHOT_PAGE,
    CLASSES = 128,
    MOST_OF_CLASS = 1 << 21
};
/* In bytes. A larger block mostly has its pages for itself, so moving it gains nothing. */
enum { LARGEST_WARM = 2048 };
/* In bytes. Python asks for larger areas for its arenas of small blocks, and for smaller ones for its stack of frames.
 */
enum { SMALLEST_ARENA = 256 << 10 };

/* The header of a block. It is right before the content; but the warm blocks' headers are apart, since a command that
 * copies the pages of the contents needs no headers. */
struct block {
    size_t size;
    uint32_t class, number; /* number: its place among the blocks of its class; NONE if it is free */
};

enum { NONE = UINT32_MAX };

/* Who writes to which blocks. A block has the same class and number in each recording, as long as Python starts in the
 * same way. Where it does not, processes only copy more pages. */
struct marks {
    uint32_t end[CLASSES]; /* after the last marked number */
    unsigned char writers[CLASSES][MOST_OF_CLASS];
};

/* The zones of the region: the cold blocks, and the blocks of each set of writers. */
enum { COLD, ZONES = ALL_WRITERS + 1, APART_ZONE = ALL_WRITERS };

static int recording;
static int apart; /* each marked block has its own page */
static const struct marks *known;
static uint32_t count_of[CLASSES];
static struct {
    size_t start, used, end;
} zones[ZONES]; /* offsets in the region */
static size_t arena_start;
static size_t warm_size; /* of the zones of warm blocks, at the beginning of the region */
static size_t headers;   /* from a warm block to its header, which is as large as the smallest block */

static int is_recorded(const void *block) {
    return (const char *)block >= REGION && (const char *)block < REGION + REGION_SIZE;
}

static void *take(int zone, size_t size, size_t alignment) {
    size_t at = round_up(zones[zone].used, alignment);
    if (at > zones[zone].end || size > zones[zone].end - at)
        return NULL;
    zones[zone].used = at + size;
    return REGION + at;
}

static int zone_of(const void *block) {
    size_t at = (const char *)block - REGION;
    int zone = ZONES - 1;
    while (zone > COLD && (at < zones[zone].start || at >= zones[zone].end))
        zone--;
    return zone;
}

/* The zone for a new block. */
static int zone_for(uint32_t class, uint32_t number, size_t room) {
    int writers = known && number < MOST_OF_CLASS && room <= LARGEST_WARM ? known->writers[class][number] : 0;
    return apart && writers ? APART_ZONE : writers;
}

static void mark(struct marks *marks, const struct block *block, int writer) {
    if (block->number >= MOST_OF_CLASS)
        return;
    marks->writers[block->class][block->number] |= writer;
    if (marks->end[block->class] <= block->number)
        marks->end[block->class] = block->number + 1;
}

/* Lists of the blocks that were freed while recording, by zone and class; there are four classes for each power of two.
 * The first word of a block points to the next one. */
static void *given_back[ZONES][CLASSES];

/* The smallest class whose blocks have room for this size; sets how much room that is. */
static int class_of(size_t size, size_t *room) {
    int power = 4; /* 16 bytes */
    while (size > (size_t)2 << power)
        power++;
    size_t quarter = ((size_t)1 << power) / 4;
    size_t quarters = size <= (size_t)1 << power ? 0 : (size - ((size_t)1 << power) + quarter - 1) / quarter;
    *room = ((size_t)1 << power) + quarters * quarter;
    return (power - 4) * 4 + (int)quarters;
}

static size_t room_of(uint32_t class) {
    size_t power = (size_t)16 << class / 4;
    return power + class % 4 * (power / 4);
}

static struct block *block_of(void *content) {
    char *place = content;
    return (struct block *)(place < REGION + warm_size ? place + headers : place - sizeof(struct block));
}

static void *take_with_header(int zone, size_t room, size_t alignment) {
    char *place = take(zone, sizeof(struct block) + room, alignment);
    return place ? place + sizeof(struct block) : NULL;
}

static void *take_block(int zone, size_t room) {
    void *content = zone == COLD ? NULL : apart ? take_with_header(zone, room, PAGE) : take(zone, room, ALIGNMENT);
    if (!content)
        content = take_with_header(COLD, room, ALIGNMENT);
    if (content)
        block_of(content)->size = room;
    return content;
}

static void *record(size_t size) {
    size_t room;
    if (size > REGION_SIZE)
        return NULL;
    uint32_t class = class_of(size, &room), number = count_of[class]++;
    int zone = zone_for(class, number, room);
    void **first = &given_back[zone][class], *content = *first;
    if (content)
        *first = *(void **)content;
    else if (!(content = take_block(zone, room)))
        return NULL;
    struct block *block = block_of(content);
    block->class = class;
    block->number = number;
    return content;
}

static void give_back(void *content) {
    struct block *block = block_of(content);
    size_t room;
    void **first = &given_back[zone_of(content)][class_of(block->size, &room)];
    block->number = NONE;
    *(void **)content = *first;
    *first = content;
}

void *malloc(size_t size) {
    return recording ? record(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    size_t all;
    if (!recording)
        return __libc_calloc(count, size);
    void *block = __builtin_mul_overflow(count, size, &all) ? NULL : record(all);
    return block ? memset(block, 0, all) : NULL;
}

void free(void *block) {
    if (!is_recorded(block))
        __libc_free(block);
    else if (recording)
        give_back(block);
}

void *realloc(void *block, size_t size) {
    if (!is_recorded(block))
        return recording && !block ? record(size) : __libc_realloc(block, size);
    size_t old = block_of(block)->size;
    if (recording && size <= old)
        return block;
    void *other = malloc(size);
    if (other)
        memcpy(other, block, old < size ? old : size);
    free(block);
    return other;
}

static void *allocate_arena(void *context, size_t size) {
    (void)context;
    if (recording && size < SMALLEST_ARENA)
        return record(size);
    if (recording) {
        arena_start = zones[COLD].used;
        return take(COLD, size, PAGE);
    }
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void free_arena(void *context, void *arena, size_t size) {
    (void)context;
    if (!is_recorded(arena))
        munmap(arena, size);
}

static PyObjectArenaAllocator arenas = {NULL, allocate_arena, free_arena};

static void *plain_malloc(void *context, size_t size) {
    (void)context;
    return malloc(size ? size : 1);
}

static void *plain_calloc(void *context, size_t count, size_t size) {
    (void)context;
    return count && size ? calloc(count, size) : malloc(1);
}

static void *plain_realloc(void *context, void *block, size_t size) {
    (void)context;
    return realloc(block, size ? size : 1);
}

static void plain_free(void *context, void *block) {
    (void)context;
    free(block);
}

static PyMemAllocatorEx plain = {NULL, plain_malloc, plain_calloc, plain_realloc, plain_free}, of_objects, of_memory;

/* Divides the region into zones, each as large as the blocks that belong there; the rest is for cold blocks. */
static void divide(enum layout layout, size_t size) {
    size_t sizes[ZONES] = {0}, at = 0;
    if (layout == APART)
        sizes[APART_ZONE] = REGION_SIZE / 2;
    for (uint32_t class = 0; known && !apart && class < CLASSES; class ++)
        for (uint32_t number = 0; number < known->end[class]; number++)
            sizes[known->writers[class][number]] += round_up(room_of(class), ALIGNMENT);
    for (int zone = ZONES - 1; zone > COLD; zone--) {
        zones[zone].start = zones[zone].used = at;
        at = zones[zone].end = at + sizes[zone];
    }
    warm_size = apart ? 0 : at;
    /* Of a huge page that is written to, the kernel maps each page separately. */
    headers = round_up(at, HUGE_PAGE);
    zones[COLD].start = zones[COLD].used = headers + warm_size;
    zones[COLD].end = size;
}

int begin_recording(enum layout layout, const struct marks *marks) {
    size_t size = layout == APART ? REGION_SIZE : SIZE_TOGETHER;
    if (mmap(REGION, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
             -1, 0) != REGION)
        return -1;
    apart = layout == APART;
    known = marks;
    divide(layout, size);
    recording = 1;
    PyObject_SetArenaAllocator(&arenas);
    PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &of_objects);
    PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &of_memory);
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &plain);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &plain);
    return 0;
}

void return_allocators(void) {
    PyGC_Collect(); /* this also empties the free lists */
    PyGC_Collect();
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &of_objects);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &of_memory);
    PyObject_Free(PyObject_Malloc(1)); /* makes an arena now, so that commands find one with empty pages */
}

void end_recording(struct extent *heap) {
    recording = 0;
    heap->start = (uintptr_t)REGION;
    heap->size = round_up(zones[COLD].used, HUGE_PAGE);
}

struct marks *new_marks(void) {
    void *marks =
        mmap(NULL, sizeof(struct marks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return marks == MAP_FAILED ? NULL : marks;
}

/* Whether a page belongs to this process alone: proc_pid_pagemap(5), bit 63 present, bit 56 exclusively mapped. */
static int is_own(int pagemap, size_t page) {
    uint64_t entry;
    off_t at = ((uintptr_t)REGION / PAGE + page) * sizeof(entry);
    return pread(pagemap, &entry, sizeof(entry), at) == sizeof(entry) && entry >> 63 && entry >> 56 & 1;
}

static void mark_zone(struct marks *marks, int writer, int pagemap, size_t start, size_t end, size_t step) {
    size_t last = SIZE_MAX, next;
    int own = 0;
    for (size_t at = start; at + sizeof(struct block) <= end; at = round_up(next, step)) {
        const struct block *block = (const struct block *)(REGION + at);
        next = at + sizeof(*block) + block->size;
        int written = own && at / PAGE == last;
        for (size_t page = at / PAGE; page <= (next - 1) / PAGE; page++)
            if (page != last) {
                last = page;
                own = is_own(pagemap, page);
                written |= own;
            }
        if (written && block->size <= LARGEST_WARM)
            mark(marks, block, writer);
    }
}

void mark_written(struct marks *marks, int writer) {
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0)
        return;
    if (apart)
        mark_zone(marks, writer, pagemap, zones[APART_ZONE].start, zones[APART_ZONE].used, PAGE);
    else
        mark_zone(marks, writer, pagemap, zones[COLD].start, arena_start, ALIGNMENT);
    close(pagemap);
}
