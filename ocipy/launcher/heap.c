/* Memory while a snapshot is recorded (snapshot.c): all of it from one region, whose addresses are the same in every process.
 *
 * malloc and its family are replaced for the whole executable (glibc's manual, "Replacing malloc"): CPython takes some of its
 * structures from libc whatever its allocators are. Afterwards they are glibc's own, but for blocks of the region: those are never
 * given back, and a larger one is copied out. */
#include "snapshot.h"

#include <string.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

/* Far above what an executable at fixed addresses and its brk(2) reach, far below where mmap(2) begins. */
#define REGION ((char *)0x1000000000)
enum { REGION_SIZE = 64 << 20, ALIGNMENT = 16, PAGE = 4096 };

struct block {
    size_t size;
    char padding[ALIGNMENT - sizeof(size_t)];
    char content[];
};

static int recording;
static size_t used;

static int is_recorded(const void *block) { return (const char *)block >= REGION && (const char *)block < REGION + REGION_SIZE; }

static void *take(size_t size, size_t alignment) {
    size_t at = (used + alignment - 1) & -alignment;
    if (size > REGION_SIZE - at)
        return NULL;
    used = at + size;
    return REGION + at;
}

static void *record(size_t size) {
    if (size > REGION_SIZE)
        return NULL;
    struct block *block = take(sizeof(*block) + (size ? size : 1), ALIGNMENT);
    if (!block)
        return NULL;
    block->size = size;
    return block->content;
}

static struct block *block_of(void *content) { return (struct block *)((char *)content - sizeof(struct block)); }

void *malloc(size_t size) { return recording ? record(size) : __libc_malloc(size); }

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
    else if (recording && (char *)block + block_of(block)->size == REGION + used)
        used = (char *)block_of(block) - REGION; /* the last one: what is only tried on leaves no hole */
}

void *realloc(void *block, size_t size) {
    if (!is_recorded(block))
        return recording && !block ? record(size) : __libc_realloc(block, size);
    void *other = malloc(size);
    size_t old = block_of(block)->size;
    if (other)
        memcpy(other, block, old < size ? old : size);
    free(block);
    return other;
}

static void *allocate_arena(void *context, size_t size) {
    (void)context;
    if (recording)
        return take(size, PAGE);
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void free_arena(void *context, void *arena, size_t size) {
    (void)context;
    if (!is_recorded(arena))
        munmap(arena, size);
}

PyObjectArenaAllocator recorded_arenas = {NULL, allocate_arena, free_arena};

int begin_recording(void) {
    if (mmap(REGION, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != REGION)
        return -1;
    recording = 1;
    return 0;
}

void end_recording(struct extent *heap) {
    recording = 0;
    heap->start = (uintptr_t)REGION;
    heap->size = (used + PAGE - 1) & -PAGE;
}
