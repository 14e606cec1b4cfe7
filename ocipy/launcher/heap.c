/* Memory while a snapshot is recorded (snapshot.c): everything comes from one region with the same addresses in every
 * process.
 *
 * malloc and its family are replaced for the whole executable (glibc's manual, "Replacing malloc"), since CPython
 * takes some structures from libc regardless of its allocators. Afterwards glibc's functions do the work, except for
 * blocks of the region: these are never freed, and realloc copies them out. */
#include "snapshot.h"

#include <string.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

/* Far above everything that an executable at fixed addresses and its brk(2) use, and far below the area of mmap(2). */
#define REGION ((char *)0x1000000000)
enum { REGION_SIZE = 128 << 20, ALIGNMENT = 16, PAGE = 4096, CLASSES = 128 };

struct block {
    size_t size;
    char padding[ALIGNMENT - sizeof(size_t)];
    char content[];
};

static int recording;
static size_t used;

static int is_recorded(const void *block) {
    return (const char *)block >= REGION && (const char *)block < REGION + REGION_SIZE;
}

static void *take(size_t size, size_t alignment) {
    size_t at = (used + alignment - 1) & -alignment;
    if (size > REGION_SIZE - at)
        return NULL;
    used = at + size;
    return REGION + at;
}

/* Lists of the blocks that were freed while recording, by class: four classes for each power of two. The first word
 * of a block points to the next one. */
static void *given_back[CLASSES];

/* The smallest class whose blocks have room for this size, and how much room that is. */
static int class_of(size_t size, size_t *room) {
    int power = 4; /* 16 bytes */
    while (size > (size_t)2 << power)
        power++;
    size_t quarter = ((size_t)1 << power) / 4;
    size_t quarters = size <= (size_t)1 << power ? 0 : (size - ((size_t)1 << power) + quarter - 1) / quarter;
    *room = ((size_t)1 << power) + quarters * quarter;
    return (power - 4) * 4 + (int)quarters;
}

static struct block *block_of(void *content) {
    return (struct block *)((char *)content - sizeof(struct block));
}

static void *record(size_t size) {
    size_t room;
    if (size > REGION_SIZE)
        return NULL;
    void **first = &given_back[class_of(size, &room)];
    void *content = *first;
    if (content) {
        *first = *(void **)content;
        return content;
    }
    struct block *block = take(sizeof(*block) + room, ALIGNMENT);
    if (!block)
        return NULL;
    block->size = room;
    return block->content;
}

static void give_back(void *content) {
    size_t room;
    void **first = &given_back[class_of(block_of(content)->size, &room)];
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

/* The arena that Python has allocated last. */
static struct extent last_arena;

static void *allocate_arena(void *context, size_t size) {
    (void)context;
    if (recording) {
        void *taken = take(size, PAGE);
        last_arena = (struct extent){(uintptr_t)taken, size};
        return taken;
    }
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void free_arena(void *context, void *arena, size_t size) {
    (void)context;
    if (!is_recorded(arena))
        munmap(arena, size);
}

PyObjectArenaAllocator recorded_arenas = {NULL, allocate_arena, free_arena};

/* Allocate small blocks until one is in the last arena, and free that one, so that the next block comes from there.
 * Give up if memory runs out. */
static void fill(size_t size, uint64_t arena) {
    for (;;) {
        void *block = PyObject_Malloc(size);
        if (!block || ((uintptr_t)block >= arena && (uintptr_t)block < arena + last_arena.size)) {
            PyObject_Free(block);
            return;
        }
    }
}

void fill_pools(void) {
    enum { LARGEST = 512, STEP = 16 };
    uint64_t before = last_arena.start;
    PyGC_Collect(); /* this also empties the free lists */
    PyGC_Collect();
    while (last_arena.start == before)
        if (!PyObject_Malloc(LARGEST))
            return;
    for (size_t size = STEP; size <= LARGEST; size += STEP)
        fill(size, last_arena.start);
}

int begin_recording(void) {
    if (mmap(REGION, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) !=
        REGION)
        return -1;
    recording = 1;
    return 0;
}

void end_recording(struct extent *heap) {
    recording = 0;
    heap->start = (uintptr_t)REGION;
    heap->size = (used + PAGE - 1) & -PAGE;
}
