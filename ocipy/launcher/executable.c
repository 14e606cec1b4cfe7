/* The running executable as the linker made it: where its data is, and which build it is. */
#include "snapshot.h"

#include <link.h>
#include <string.h>

enum { PAGE = SNAPSHOT_PAGE };

/* Page-aligned, so that the linker starts our data on a new page, after the one with libc's addresses. */
static char page_of_data[PAGE] __attribute__((aligned(PAGE), used, section(".data"))) = {1};

extern char __data_start[], _end[];
extern const ElfW(Ehdr) __ehdr_start;

struct extent data_extent(void) {
    uintptr_t start = (uintptr_t)__data_start & -PAGE, end = ((uintptr_t)_end + PAGE - 1) & -PAGE;
    return (struct extent){start, end - start};
}

int data_is_apart(void) {
    return (uintptr_t)__data_start % PAGE == 0;
}

const unsigned char *find_build_id(const ElfW(Ehdr) * file, uintptr_t base) {
    const ElfW(Phdr) *segment = (const void *)((const char *)file + file->e_phoff);
    for (int i = 0; i < file->e_phnum; i++) {
        if (segment[i].p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(base + segment[i].p_vaddr), *end = at + segment[i].p_memsz;
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

const unsigned char *build_id(void) {
    return find_build_id(&__ehdr_start, 0);
}

uint64_t build_id_offset(void) {
    return build_id() - (const unsigned char *)&__ehdr_start; /* the first segment is the file's beginning */
}

int is_this_build(int file) {
    const unsigned char *id = build_id();
    return id && has_build_id(file, build_id_offset(), id);
}
