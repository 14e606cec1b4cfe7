/* Whether the libraries in a snapshot fit this machine: glibc chooses its functions by the processor's features, and
 * an upgrade replaces the libraries' files. */
#include "machine.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifdef __x86_64__
struct cpuid {
    uint32_t a, b, c, d;
};

static struct cpuid cpuid(uint32_t leaf) {
    struct cpuid result = {.a = leaf, .c = 0};
    __asm__ volatile("cpuid" : "+a"(result.a), "=b"(result.b), "+c"(result.c), "=d"(result.d));
    return result;
}

/* Executes cpuid only twice: a hypervisor emulates it, which takes 14 to 70 µs each time. glibc's startup executes it
 * more than 30 times. It also looks for XSAVEC (leaf 0xd), with which ld.so saves registers when it binds a function at
 * its first call, and for LZCNT or FMA4 (leaf 0x80000001), by which it chooses some string and math functions. Two
 * processors agree about these if their family, model, stepping, other features and enabled states agree. A hypervisor
 * can hide these features from cpuid, but cannot disable the instructions. */
struct cpu this_cpu(void) {
    enum { OSXSAVE = 1 << 27 };
    struct cpuid basic = cpuid(1), more = cpuid(7);
    uint32_t low = 0, high = 0; /* which register states the kernel has enabled */
    if (basic.c & OSXSAVE)
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    /* Without b of leaf 1, which has the core's number. */
    return (struct cpu){{basic.a, basic.c, basic.d, more.b, more.c, more.d, low, high}};
}
#endif

/* Whether a library's file is unchanged since the snapshot was made. */
static int is_same_library(const struct library *library) {
    int file = open(library->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    int is_same = has_build_id(file, library->build_id_at, library->build_id);
    close(file);
    return is_same;
}

static int are_in_file(const struct segment *segments, uint32_t count, uint64_t file_size) {
    for (uint32_t i = 0; i < count; i++)
        if (segments[i].size > file_size || segments[i].offset > file_size - segments[i].size)
            return 0;
    return 1;
}

int has_libraries(const struct libraries *libraries, uint64_t file_size) {
    return libraries->resume && libraries->memory_count <= MAX_MEMORY && libraries->file_count <= MAX_FILES &&
           are_in_file(libraries->memory, libraries->memory_count, file_size);
}

const char *fault_of_libraries(const struct libraries *libraries) {
    struct cpu cpu = this_cpu();
    if (memcmp(&libraries->cpu, &cpu, sizeof(cpu)))
        return "the snapshot was made on another processor";
    for (uint32_t i = 0; i < libraries->file_count; i++)
        if (!is_same_library(&libraries->files[i]))
            return "the snapshot was made with other libraries";
    return NULL;
}
