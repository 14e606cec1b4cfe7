/* Sealing without a second execution: the process maps the file on the overlay in place of its executable, and tells
 * the kernel that this is its executable now (PR_SET_MM_MAP(2const)). Nothing of the original is mapped any more, and
 * /proc/PID/exe and /proc/PID/map_files lead to the overlay, as after an execution.
 *
 * The two files have the same contents, so the code continues where it is. The build id is compared first, because an
 * upgrade may just have replaced the file. A snapshot has already replaced the data (snapshot.c). The page before them
 * has libc's addresses, and is copied. All this takes the capabilities that the overlay needs, and a kernel with
 * CONFIG_CHECKPOINT_RESTORE. */
#include "launcher.h"
#include "snapshot.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE };

extern const ElfW(Ehdr) __ehdr_start;

/* A raw call, since the header of libc's prctl conflicts with the kernel's. */
static long set_map(int what, void *map, size_t size) {
    return syscall(SYS_prctl, PR_SET_MM, what, map, size, 0);
}

/* Reads the addresses that the kernel has on record for this process, to set them unchanged: proc_pid_stat(5), whose
 * numbers of fields these are. */
static int read_map(struct prctl_mm_map *map) {
    enum {
        START_CODE = 26,
        END_CODE,
        START_STACK,
        START_DATA = 45,
        END_DATA,
        START_BRK,
        ARG_START,
        ARG_END,
        ENV_START
    };
    enum { ENV_END = 51, FIELDS };
    unsigned long long fields[FIELDS] = {0};
    char text[1024];
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
    if (file >= 0)
        close(file);
    text[size > 0 ? size : 0] = '\0';
    char *at = strrchr(text, ')'); /* the end of field 2, the command name, which may contain anything */
    if (!at || !at[1])
        return -1;
    at += 3; /* field 3 is a letter */
    for (int field = 4; field < FIELDS; field++)
        fields[field] = strtoull(at + 1, &at, 10);
    *map = (struct prctl_mm_map){
        .start_code = fields[START_CODE],
        .end_code = fields[END_CODE],
        .start_data = fields[START_DATA],
        .end_data = fields[END_DATA],
        .start_brk = fields[START_BRK],
        .brk = (uintptr_t)sbrk(0),
        .start_stack = fields[START_STACK],
        .arg_start = fields[ARG_START],
        .arg_end = fields[ARG_END],
        .env_start = fields[ENV_START],
        .env_end = fields[ENV_END],
    };
    return 0;
}

/* Maps the same read-only segment of the file over our own. */
static int map_again(const ElfW(Phdr) * segment, int file) {
    uintptr_t start = segment->p_vaddr & -PAGE, end = segment->p_vaddr + segment->p_filesz;
    int protection = PROT_READ | (segment->p_flags & PF_X ? PROT_EXEC : 0);
    return mmap((void *)start, end - start, protection, MAP_PRIVATE | MAP_FIXED, file,
                (off_t)(segment->p_offset & -PAGE)) == MAP_FAILED;
}

/* Replaces the pages of a writable segment before the data with an anonymous copy of them. */
static int copy_addresses(const ElfW(Phdr) * segment, uintptr_t end) {
    uintptr_t start = segment->p_vaddr & -PAGE;
    if (end <= start)
        return 0;
    void *copy = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return -1;
    memcpy(copy, (void *)start, end - start);
    return mremap(copy, end - start, end - start, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) == MAP_FAILED;
}

int become_executable(int file, struct extent launcher) {
    struct prctl_mm_map map;
    if (read_map(&map) || munmap((void *)launcher.start, launcher.size))
        return -1;
    map.exe_fd = file;
    return set_map(PR_SET_MM_MAP, &map, sizeof(map)) ? -1 : 0;
}

int replace_executable(int file) {
    struct prctl_mm_map map;
    if (!is_this_build(file) || read_map(&map))
        return -1;
    const ElfW(Phdr) *segments = (const void *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        const ElfW(Phdr) *segment = &segments[i];
        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_flags & PF_W ? copy_addresses(segment, data_extent().start) : map_again(segment, file))
            return -1;
    }
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        uintptr_t start = segments[i].p_vaddr & -PAGE, end = (segments[i].p_vaddr + segments[i].p_memsz) & -PAGE;
        if (segments[i].p_type == PT_GNU_RELRO && end > start && mprotect((void *)start, end - start, PROT_READ))
            return -1;
    }
    map.exe_fd = file;
    return set_map(PR_SET_MM_MAP, &map, sizeof(map)) ? -1 : 0;
}
