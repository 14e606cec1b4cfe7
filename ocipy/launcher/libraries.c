/* Records what a process has in addition to Python's data and heap: the memory of the libraries and of ld.so, and the
 * thread control block. With it, the launcher can start a process without running their startup code (restore.c).
 *
 * This works if loader.c loaded the maker of the snapshot: then all this memory is at addresses that are free in every
 * process, and none of it refers to the vDSO or to the maker's stack. */
#include "machine.h"
#include "maps.h"
#include "snapshot.h"

#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE };

extern const ElfW(Ehdr) __ehdr_start;
extern void *__libc_stack_end;

static uint64_t thread_block(void) {
    uint64_t block;
    __asm__("mov %%fs:0, %0" : "=r"(block));
    return block;
}

/* The address of the thread's id in the thread control block. 0 if it cannot be found. */
static uint64_t find_thread_id(uint64_t block) {
    enum { USUAL = 0x2d0, SEARCHED = 0x800 }; /* USUAL: in glibc for x86-64 since 2.4 */
    uint32_t id = (uint32_t)gettid();
    uint64_t found = 0;
    int count = 0;
    for (uint64_t at = block; at < block + SEARCHED; at += sizeof(id))
        if (*(const uint32_t *)at == id) {
            found = at == block + USUAL || !count ? at : found;
            count++;
        }
    return count == 1 || found == block + USUAL ? found : 0;
}

static int protection_of(int flags) {
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static int add_segment(struct libraries *libraries, struct extent part, int protection) {
    if (libraries->memory_count == MAX_MEMORY)
        return -1;
    libraries->memory[libraries->memory_count++] = (struct segment){part.start, part.size, 0, protection, 0};
    return 0;
}

/* Records the executable's read-only segments. Fills up the last huge page of each one that has more than one, so that
 * the kernel can map it as a whole. The linker has put the next segment on another one (meson.build). */
static int record_code(struct libraries *libraries) {
    const ElfW(Phdr) *segments = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        if (segments[i].p_type != PT_LOAD || segments[i].p_flags & PF_W)
            continue;
        uint64_t start = segments[i].p_vaddr & -PAGE, end = round_up(segments[i].p_vaddr + segments[i].p_memsz, PAGE),
                 filled = round_up(end, HUGE_PAGE);
        if (end - start > HUGE_PAGE && start % HUGE_PAGE == 0 && filled > end &&
            mmap((void *)end, filled - end, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
                (void *)end)
            end = filled;
        if (add_segment(libraries, (struct extent){start, end - start}, protection_of(segments[i].p_flags)))
            return -1;
    }
    return 0;
}

/* Records a library's file. start: where a part of it is mapped. The first mapping has the file's first byte, and so
 * its ELF header. */
static int record_file(struct libraries *libraries, const char *path, uint64_t start) {
    for (uint32_t i = 0; i < libraries->file_count; i++)
        if (!strcmp(libraries->files[i].path, path))
            return 0;
    const unsigned char *id =
        memcmp((const void *)start, ELFMAG, SELFMAG) ? NULL : find_build_id((const void *)start, start);
    if (!id || libraries->file_count == MAX_FILES || strlen(path) >= MAX_FILE_NAME)
        return -1;
    struct library *file = &libraries->files[libraries->file_count++];
    file->build_id_at = (uintptr_t)id - start;
    memcpy(file->build_id, id, BUILD_ID_SIZE);
    strcpy(file->path, path);
    return 0;
}

/* The addresses of the libraries, which loader.c has placed above the stack on which this process started, and that
 * stack's pointer at the start. */
struct window {
    uint64_t stack, start, end;
};

/* The start of the executable's writable segment: relocated addresses first, then the data. */
static uint64_t start_of_relocated(void) {
    const ElfW(Phdr) *segments = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_W)
            return segments[i].p_vaddr & -PAGE;
    return data_extent().start;
}

/* The intersection of two ranges; of size 0 if there is none. */
static struct extent common(uint64_t start, uint64_t end, uint64_t from, uint64_t to) {
    uint64_t first = start > from ? start : from, last = end < to ? end : to;
    return last > first ? (struct extent){first, last - first} : (struct extent){0, 0};
}

/* The part of a mapping to record, of size 0 if there is none: the libraries; the executable's relocated addresses,
 * which precede its data; and the end of the stack, with the arguments and vectors. */
static struct extent part_to_record(const struct mapping *mapping, const struct window *window,
                                    const struct places *places) {
    const struct extent nothing = {0, 0};
    if (mapping->access[0] != 'r' || mapping->access[3] != 'p' || !strcmp(mapping->path, places->frozen))
        return nothing;
    if (mapping->start < data_extent().start)
        return common(mapping->start, mapping->end, start_of_relocated(), data_extent().start);
    if (mapping->end <= window->start)
        return common(mapping->start, mapping->end, window->stack & -PAGE, window->start);
    return common(mapping->start, mapping->end, window->start, window->end);
}

static int record_part(struct libraries *libraries, const struct mapping *mapping, struct extent part) {
    if (mapping->path[0] == '/' && part.start > data_extent().start &&
        record_file(libraries, mapping->path, mapping->start))
        return -1;
    uint32_t protection =
        PROT_READ | (mapping->access[1] == 'w' ? PROT_WRITE : 0) | (mapping->access[2] == 'x' ? PROT_EXEC : 0);
    struct segment *last = libraries->memory + libraries->memory_count - 1;
    if (!libraries->memory_count || last->start + last->size != part.start || last->protection != protection)
        return add_segment(libraries, part, (int)protection);
    last->size += part.size; /* one call of mmap(2) fewer */
    return 0;
}

/* Sets the window if loader.c loaded this process: then its stack and its thread control block are in loader.c's area,
 * where no other process has them. 0 or -1. */
static int find_window(char *maps, struct window *window) {
    struct mapping mapping;
    window->stack = (uintptr_t)__libc_stack_end;
    while (!next_mapping(&maps, &mapping)) {
        if (mapping.start > window->stack || mapping.end <= window->stack)
            continue;
        window->start = mapping.end;
        window->end = mapping.end + LIBRARIES_SIZE;
        return window->start >= LIBRARIES_START && window->end <= LIBRARIES_END && thread_block() >= window->start &&
                       thread_block() < window->end
                   ? 0
                   : -1;
    }
    return -1;
}

static int record_memory(struct libraries *libraries, const struct places *places) {
    char text[65536], searched[sizeof(text)], *rest = text;
    struct mapping mapping;
    struct window window;
    if (read_maps(text, sizeof(text)))
        return -1;
    memcpy(searched, text, sizeof(text)); /* next_mapping overwrites the ends of lines */
    if (find_window(searched, &window))
        return -1;
    while (!next_mapping(&rest, &mapping)) {
        struct extent part = part_to_record(&mapping, &window, places);
        if (part.size && record_part(libraries, &mapping, part))
            return -1;
    }
    return 0;
}

void record_libraries(struct libraries *libraries, const struct places *places, uint64_t build_id_at,
                      resume_function *resume) {
    memset(libraries, 0, sizeof(*libraries));
    if (record_code(libraries) || record_memory(libraries, places)) {
        memset(libraries, 0, sizeof(*libraries));
        return;
    }
    libraries->thread_block = thread_block();
    libraries->thread_id = find_thread_id(libraries->thread_block);
    libraries->build_id_at = build_id_at;
    libraries->cpu = this_cpu();
    libraries->resume = libraries->thread_id ? (uintptr_t)resume : 0;
}
