/* Starts a process from a snapshot without ld.so and glibc's startup code, which together take ten times as long as
 * executing this launcher: maps the snapshot's copy of the executable, the heap and the libraries.
 *
 * Nothing that is mapped refers to what only one process has: its vDSO, stack or environment (loader.c). If anything
 * has changed since the snapshot was made, this returns, and the launcher executes `ocipy-python`. */
#include "restore.h"

#include "../linux/kernel/raw_call.h"
#include "machine.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE };

int join(char path[PATH_MAX], const char *directory, const char *name) {
    if (strlen(directory) + strlen(name) + 2 > PATH_MAX)
        return -1;
    strcpy(path, directory);
    strcat(path, "/");
    strcat(path, name);
    return 0;
}

int environment_matters(char **envp) {
    static const char *const beginnings[] = {"LD_", "GLIBC_TUNABLES=", "MALLOC_", "LIBC_"};
    for (; *envp; envp++)
        for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++)
            if (!strncmp(*envp, beginnings[i], strlen(beginnings[i])))
                return 1;
    return getauxval(AT_SECURE) != 0;
}

/* The size of a file that can be trusted; otherwise 0. */
static uint64_t trusted_size(int file, const char *path) {
    struct stat about;
    return fstat(file, &about) || distrust(path, &about) ? 0 : (uint64_t)about.st_size;
}

static int is_valid(const struct snapshot_files *files, const char *packages, union header_page headers[3]) {
    char frozen[PATH_MAX];
    const struct header *header = &headers[0].header;
    const struct libraries *libraries = &headers[1].libraries;
    uint64_t size = trusted_size(files->snapshot, files->snapshot_path);
    return size && trusted_size(files->executable, files->executable_path) &&
           !join(frozen, files->directory, "_frozen.bin") &&
           pread(files->snapshot, headers, SNAPSHOT_HEADERS, 0) == SNAPSHOT_HEADERS &&
           !fault_of_header(header, size, packages, frozen) && has_libraries(libraries, size) &&
           !fault_of_libraries(libraries) && has_build_id(files->executable, libraries->build_id_at, header->build_id);
}

static int map_all(const struct snapshot_files *files, const union header_page headers[3]) {
    const struct libraries *libraries = &headers[1].libraries;
    for (uint32_t i = 0; i < libraries->memory_count; i++)
        if (map_segment(files->snapshot, &libraries->memory[i], MAP_FIXED_NOREPLACE))
            return -1;
    return map_heap_and_data(files->snapshot, &headers[0].header, MAP_FIXED_NOREPLACE);
}

/* Sets FS to glibc's thread control block, gives this process a new stack guard, and calls resume. With that FS, no
 * function of musl may be called. Returns only if the kernel refuses to set it: then FS is still musl's. */
static void go_on(const struct libraries *libraries, const struct resumption *from) {
    uint64_t guard;
    memcpy(&guard, (void *)getauxval(AT_RANDOM), sizeof(guard));
    guard &= ~(uint64_t)0xff; /* glibc's first byte is 0, so that no string contains the guard */
    resume_function *resume = (resume_function *)libraries->resume;
    if (raw_call(SYS_arch_prctl, ARCH_SET_FS, (long)libraries->thread_block, 0, 0, 0))
        return;
    __asm__ volatile("mov %[guard], %%fs:0x28\n\t"
                     "mov %[from], %%rdi\n\t"
                     "and $-16, %%rsp\n\t"
                     "call *%[resume]\n\t"
                     "hlt"
                     :
                     : [guard] "r"(guard), [from] "r"(from), [resume] "r"(resume)
                     : "rdi", "memory");
    __builtin_unreachable();
}

int restore(const struct snapshot_files *files, const char *packages, struct resumption *from) {
    union header_page headers[3];
    extern const char __ehdr_start[], _end[];
    if (environment_matters(from->envp) || !is_valid(files, packages, headers) || map_all(files, headers))
        return -1;
    from->header = &headers[0].header;
    from->libraries = &headers[1].libraries;
    from->touched = headers[2].touched;
    from->stack_top = (getauxval(AT_EXECFN) + PAGE) & -(uint64_t)PAGE;
    from->launcher.start = (uintptr_t)__ehdr_start & -(uint64_t)PAGE;
    from->launcher.size = (((uintptr_t)_end + PAGE - 1) & -(uint64_t)PAGE) - from->launcher.start;
    go_on(&headers[1].libraries, from);
    return -1;
}
