/* Loads the executable that is about to make a snapshot, as execve(2) would, with two differences: ld.so loads
 * libraries at addresses that are free in every process, and nothing refers to memory that only this process has.
 *
 * ld.so lets the kernel choose addresses, and the kernel takes the highest gap that is large enough. So we first fill
 * all gaps above the place for the libraries. That place is random, drawn once for each snapshot. Without
 * AT_SYSINFO_EHDR, glibc makes system calls instead of using the vDSO, whose address differs between processes and
 * whose contents differ between kernels: getauxval(3), vdso(7). glibc keeps pointers to the arguments, the environment
 * and the auxiliary vector, so these are at the end of a stack just below the libraries, and are recorded too. */
#include "maps.h"
#include "restore.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum { PAGE = SNAPSHOT_PAGE, MAX_SEGMENTS = 16, MAX_VECTOR = 64, MAX_WORDS = 4096 };
/* Left free below the stack that the kernel made, which may grow. The kernel chooses no addresses there. */
#define ROOM_OF_STACK (64UL << 20)
/* The size of the stack that replaces it. */
#define STACK_SIZE (8UL << 20)

/* A random address, the start of the libraries and the end of the stack. */
static uint64_t start_of_libraries(void) {
    const uint64_t pages = (LIBRARIES_END - LIBRARIES_SIZE - LIBRARIES_START - STACK_SIZE) / PAGE;
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof(random), GRND_NONBLOCK); /* if it fails, the address can be guessed */
    return LIBRARIES_START + STACK_SIZE + random % pages * PAGE;
}

struct loaded {
    uint64_t base, entry, headers, header_count;
    char interpreter[PATH_MAX];
};

static int map_anonymous(uint64_t start, uint64_t size, int protection) {
    return mmap((void *)start, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
                0) != (void *)start;
}

static int map_part(int file, uint64_t base, const Elf64_Phdr *part) {
    uint64_t start = base + part->p_vaddr, file_end = start + part->p_filesz, end = start + part->p_memsz,
             first = start & -(uint64_t)PAGE, border = (file_end + PAGE - 1) & -(uint64_t)PAGE,
             last = (end + PAGE - 1) & -(uint64_t)PAGE;
    int protection = (part->p_flags & PF_R ? PROT_READ : 0) | (part->p_flags & PF_W ? PROT_WRITE : 0) |
                     (part->p_flags & PF_X ? PROT_EXEC : 0);
    if (mmap((void *)first, border - first, protection, MAP_PRIVATE | MAP_FIXED_NOREPLACE, file,
             (off_t)(part->p_offset & -(uint64_t)PAGE)) != (void *)first)
        return -1;
    if (part->p_flags & PF_W)
        memset((void *)file_end, 0, border - file_end);
    return last > border ? map_anonymous(border, last - border, protection) : 0;
}

static int load_file(const char *path, uint64_t base, struct loaded *loaded) {
    Elf64_Ehdr header;
    Elf64_Phdr parts[MAX_SEGMENTS];
    int file = open(path, O_RDONLY | O_CLOEXEC), failed = 1;
    if (file >= 0 && read(file, &header, sizeof(header)) == sizeof(header) &&
        !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_phnum <= MAX_SEGMENTS &&
        pread(file, parts, header.e_phnum * sizeof(*parts), (off_t)header.e_phoff) ==
            (ssize_t)(header.e_phnum * sizeof(*parts))) {
        failed = 0;
        *loaded = (struct loaded){.base = base, .entry = base + header.e_entry, .header_count = header.e_phnum};
        for (int i = 0; i < header.e_phnum && !failed; i++) {
            if (parts[i].p_type == PT_PHDR)
                loaded->headers = base + parts[i].p_vaddr;
            else if (parts[i].p_type == PT_INTERP)
                failed = parts[i].p_filesz > PATH_MAX ||
                         pread(file, loaded->interpreter, parts[i].p_filesz, (off_t)parts[i].p_offset) < 1;
            else if (parts[i].p_type == PT_LOAD)
                failed = map_part(file, base, &parts[i]);
        }
    }
    if (file >= 0)
        close(file);
    return failed ? -1 : 0;
}

/* Fills the gaps above the place for the libraries, which ends at gap. */
static int fill_gaps(uint64_t gap) {
    static char text[65536];
    char *rest = text;
    struct mapping mapping;
    if (read_maps(text, sizeof(text)))
        return -1;
    while (!next_mapping(&rest, &mapping)) {
        int is_stack = !strcmp(mapping.path, "[stack]");
        uint64_t last = is_stack ? mapping.start - ROOM_OF_STACK : mapping.start;
        if (mapping.start < gap)
            continue;
        if (last > gap && map_anonymous(gap, last - gap, PROT_NONE))
            return -1;
        if (is_stack)
            return 0;
        gap = mapping.end;
    }
    return -1;
}

/* A stack, filled from its end. at: the lowest address in use. */
struct stack {
    char *at;
};

static char *push(struct stack *stack, const void *from, size_t size) {
    return memcpy(stack->at -= size, from, size);
}

static char *push_text(struct stack *stack, const char *text) {
    return push(stack, text, strlen(text) + 1);
}

/* Makes this process's auxiliary vector fit the executable. Returns the number of entries, or 0 on failure. */
static int make_vector(Elf64_auxv_t vector[MAX_VECTOR], struct stack *stack, const char *executable,
                       const struct loaded *program, const struct loaded *interpreter) {
    int count = 0, file = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, vector, (MAX_VECTOR - 1) * sizeof(*vector));
    if (file >= 0)
        close(file);
    for (; count < (int)(size / (ssize_t)sizeof(*vector)) && vector[count].a_type != AT_NULL; count++) {
        uint64_t *value = &vector[count].a_un.a_val;
        switch (vector[count].a_type) {
        case AT_SYSINFO_EHDR:
            vector[count].a_type = AT_IGNORE;
            break;
        case AT_PHDR:
            *value = program->headers;
            break;
        case AT_PHNUM:
            *value = program->header_count;
            break;
        case AT_ENTRY:
            *value = program->entry;
            break;
        case AT_BASE:
            *value = interpreter->base;
            break;
        case AT_EXECFN:
            *value = (uintptr_t)push_text(stack, executable);
            break;
        case AT_PLATFORM:
        case AT_BASE_PLATFORM:
            *value = (uintptr_t)push_text(stack, (const char *)*value);
            break;
        case AT_RANDOM:
            *value = (uintptr_t)push(stack, (const void *)*value, 16);
            break;
        default:
            break;
        }
    }
    vector[count].a_type = AT_NULL;
    vector[count].a_un.a_val = 0;
    return size > 0 ? count + 1 : 0;
}

/* Puts on the stack what execve(2) would put there. Returns the stack pointer, or NULL. */
static void *fill_stack(uint64_t end, const char *executable, int argc, char **argv, const struct loaded *program,
                        const struct loaded *interpreter) {
    static uint64_t words[MAX_WORDS];
    Elf64_auxv_t vector[MAX_VECTOR];
    struct stack stack = {(char *)end};
    size_t count = 0;
    if (argc > MAX_WORDS / 2)
        return NULL;
    words[count++] = argc;
    for (int i = 0; i < argc; i++)
        words[count++] = (uintptr_t)push_text(&stack, argv[i]);
    words[count++] = 0;
    /* Not our environment, which may contain secrets. Without this variable, glibc would register an rseq(2) area with
     * the kernel, which holds for this process alone. */
    words[count++] = (uintptr_t)push_text(&stack, "GLIBC_TUNABLES=glibc.pthread.rseq=0");
    words[count++] = 0;
    int entries = make_vector(vector, &stack, executable, program, interpreter);
    if (!entries)
        return NULL;
    memcpy(words + count, vector, entries * sizeof(*vector));
    count += entries * 2;
    stack.at = (char *)(((uintptr_t)stack.at - count * sizeof(*words)) & -(uintptr_t)16);
    return memcpy(stack.at, words, count * sizeof(*words));
}

/* Makes glibc's malloc use mmap, which puts memory near the libraries, and not brk(2), whose address differs between
 * processes. */
static int forbid_brk(void) {
    uint64_t end = ((uintptr_t)sbrk(0) + PAGE - 1) & -(uint64_t)PAGE;
    return map_anonymous(end, PAGE, PROT_NONE);
}

/* Whether the kernel now chooses addresses in the place for the libraries. In the legacy layout it does not: it
 * searches upwards (personality(2), ADDR_COMPAT_LAYOUT; vm.legacy_va_layout), and finds room only around the stack,
 * which may be too little. */
static int is_place_next(uint64_t start) {
    void *found = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED)
        return 0;
    munmap(found, PAGE);
    return (uintptr_t)found >= start && (uintptr_t)found < start + LIBRARIES_SIZE;
}

void load(const char *executable, int argc, char **argv) {
    struct loaded program, interpreter;
    uint64_t start = start_of_libraries();
    if (load_file(executable, 0, &program) || load_file(program.interpreter, start, &interpreter) ||
        map_anonymous(start - STACK_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE) || fill_gaps(start + LIBRARIES_SIZE) ||
        forbid_brk() || !is_place_next(start))
        return;
    void *stack = fill_stack(start, executable, argc, argv, &program, &interpreter);
    if (!stack)
        return;
    __asm__ volatile("mov %%rcx, %%rsp\n\t"
                     "xor %%edx, %%edx\n\t" /* the ABI: no function to call at exit */
                     "xor %%ebp, %%ebp\n\t"
                     "jmp *%%rax"
                     :
                     : "a"(interpreter.entry), "c"(stack)
                     : "memory");
}
