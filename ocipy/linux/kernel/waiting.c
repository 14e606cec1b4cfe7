/* The end of the init lane, unless a hook runs there: wait for start, close descriptors, load the filter, exec. Without
 * a FIFO, in `run`, there is no wait.
 *
 * A created container may wait for a long time, and this file has everything that its init still needs. So init unmaps
 * all other memory, including Python and libc. It keeps the pages of this code, a region with the data of the last
 * steps, the stack, the thread control block, the rseq(2) area, which the kernel writes to, and the top of a shadow
 * stack. The code is in a separate section and uses neither libc nor constants or variables in memory. It never
 * returns. */
#include "alone.h"
#include "kernel.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* LARGEST_PAGE: munmap(2) rounds a size up to whole pages, which may be 64 KiB on an aarch64 kernel. */
#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#define LARGEST_PAGE 4096
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#define LARGEST_PAGE 65536
#endif

/* Sanitizers and coverage would add calls to code, and uses of variables, outside the section. */
#if defined(ARCHITECTURE) && !defined(__SANITIZE_ADDRESS__)
#define GIVES_BACK 1
#else
#define GIVES_BACK 0
#endif
#define ALONE __attribute__((noinline, section("ocipy_alone"), no_profile_instrument_function, no_stack_protector))

/* PAGE: the largest on any architecture. */
enum { PAGE = 65536, WATCH_INTERVAL_SECONDS = 10, KERNEL_MASK_SIZE = 8, SCRATCH = 16 };
enum { AWAKE = 0, EXECUTING = 1, FILTERED = 3 }; /* init/fifo.py */

/* The data of the last steps; everything that it points to is in the same region. */
struct last {
    size_t size; /* of the region */
    int fifo, report, first_foreign, watch;
    int filter_in_force, loads_filter, filter_is_optional;
    unsigned filter_flags;
    struct sock_fprog filter;
    const char *path;
    char **argv, **envp;
    int limit_count, resources[RLIM_NLIMITS];
    struct rlimit64 limits[RLIM_NLIMITS];
    char *filter_failure, *exec_failure; /* beginnings of messages, each with room for an errno and the end */
    size_t filter_failure_size, exec_failure_size;
};

struct range {
    uintptr_t start, end;
};

enum { MOST_KEPT = 5 };

/* A filter in force may forbid even this call. Then the process dies by a trap instead of running on. */
ALONE static void leave_with(int status) {
    raw_call(SYS_exit_group, status, 0, 0, 0, 0);
    __builtin_trap();
}

ALONE void exit_by_signal(int signal) {
    leave_with(128 + signal);
}

ALONE static void leave(void) {
    leave_with(1);
}

#if GIVES_BACK
/* Interprets a filter: whether it permits mmap(start, size, ...) or munmap(start, size). 0 if it contains an unknown
 * instruction or reads other data. linux/filter.h, seccomp(2). */
ALONE static int lets_pass(const struct sock_fprog *filter, unsigned number, uintptr_t start, size_t size) {
    uint32_t a = 0, x = 0, scratch[SCRATCH];
    for (unsigned at = 0; at < filter->len; at++) {
        const struct sock_filter *i = &filter->filter[at];
        uint32_t operand = (i->code & BPF_X) ? x : i->k; /* only two classes have a source operand */
        if (i->code == (BPF_LD | BPF_W | BPF_ABS)) {
            if (i->k == offsetof(struct seccomp_data, nr))
                a = number;
            else if (i->k == offsetof(struct seccomp_data, arch))
                a = ARCHITECTURE;
            else if (i->k == offsetof(struct seccomp_data, args[0]))
                a = (uint32_t)start;
            else if (i->k == offsetof(struct seccomp_data, args[0]) + 4)
                a = (uint32_t)(start >> 32);
            else if (i->k == offsetof(struct seccomp_data, args[1]))
                a = (uint32_t)size;
            else if (i->k == offsetof(struct seccomp_data, args[1]) + 4)
                a = (uint32_t)(size >> 32);
            else
                return 0;
        } else if (i->code == (BPF_LD | BPF_IMM)) {
            a = i->k;
        } else if (i->code == (BPF_LDX | BPF_IMM)) {
            x = i->k;
        } else if (i->code == (BPF_MISC | BPF_TAX)) {
            x = a;
        } else if (i->code == (BPF_MISC | BPF_TXA)) {
            a = x;
        } else if (i->code == BPF_ST && i->k < SCRATCH) {
            scratch[i->k] = a;
        } else if (i->code == (BPF_LD | BPF_MEM) && i->k < SCRATCH) {
            a = scratch[i->k]; /* the kernel has checked that it was stored before */
        } else if (i->code == (BPF_ALU | BPF_AND | BPF_K) || i->code == (BPF_ALU | BPF_AND | BPF_X)) {
            a &= operand;
        } else if (i->code == (BPF_JMP | BPF_JA)) {
            at += i->k;
        } else if (BPF_CLASS(i->code) == BPF_JMP) {
            int holds;
            if (BPF_OP(i->code) == BPF_JEQ)
                holds = a == operand;
            else if (BPF_OP(i->code) == BPF_JGT)
                holds = a > operand;
            else if (BPF_OP(i->code) == BPF_JGE)
                holds = a >= operand;
            else if (BPF_OP(i->code) == BPF_JSET)
                holds = (a & operand) != 0;
            else
                return 0;
            at += holds ? i->jt : i->jf;
        } else {
            return i->code == (BPF_RET | BPF_K) && (i->k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ALLOW;
        }
    }
    return 0;
}

static int may_map(const struct last *last) {
    return lets_pass(&last->filter, SYS_mmap, 0, last->size);
}

/* Unmaps a range; by halves if part of it cannot be unmapped, such as the kernel's own pages with mseal(2). */
ALONE static void give_back_range(const struct last *last, uintptr_t start, uintptr_t end) {
    if (start >= end || (last->filter_in_force && !lets_pass(&last->filter, SYS_munmap, start, end - start)))
        return;
    if (raw_call(SYS_munmap, (long)start, (long)(end - start), 0, 0, 0) == 0 || end - start <= PAGE)
        return;
    uintptr_t middle = (start + (end - start) / 2) & -(uintptr_t)PAGE;
    give_back_range(last, start, middle);
    give_back_range(last, middle, end);
}

ALONE static uintptr_t thread_pointer(void) {
    uintptr_t pointer;
#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(pointer));
#else
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
#endif
    return pointer;
}

/* Unmaps everything from the second page (the first is never mapped) up to the stack, except what is kept, which must
 * be sorted by address. The memory above the stack stays mapped. */
ALONE static void give_back(const struct last *last, const struct range *kept, int count) {
    uintptr_t start = PAGE, stack = ((uintptr_t)__builtin_frame_address(0) & -(uintptr_t)LARGEST_PAGE) - LARGEST_PAGE;
    for (int i = 0; i < count && kept[i].start < stack; i++) {
        give_back_range(last, start, kept[i].start);
        start = kept[i].end > start ? kept[i].end : start; /* they may overlap */
    }
    give_back_range(last, start, stack);
}
#else
static int may_map(const struct last *last) {
    return !last->filter_in_force;
}
#endif

/* Waits until something is written to the FIFO; exits if the FIFO has been removed. */
ALONE static void watch(int fifo) {
    for (;;) {
        struct pollfd waited_for = {.fd = fifo, .events = POLLIN};
        struct timespec interval = {.tv_sec = WATCH_INTERVAL_SECONDS};
        struct stat about;
        long ready = raw_call(SYS_ppoll, (long)&waited_for, 1, (long)&interval, 0, KERNEL_MASK_SIZE);
        if (ready && ready != -EINTR)
            return; /* also if ppoll failed: the read waits as well */
        if (raw_call(SYS_fstat, fifo, (long)&about, 0, 0, 0) == 0 && about.st_nlink == 0)
            leave();
    }
}

ALONE static void tell(const struct last *last, char word) {
    if (raw_call(SYS_write, last->report, (long)&word, 1, 0, 0) != 1)
        leave();
}

/* Sends the message with this errno, and exits. */
ALONE static void fail(const struct last *last, char *message, size_t size, long result) {
    volatile char *end = message + size; /* volatile, or the compiler might call memcpy */
    unsigned number = (unsigned)-result, divisor = 1000;
    for (; divisor > 1 && number / divisor == 0; divisor /= 10)
        continue;
    for (; divisor; divisor /= 10)
        *end++ = (char)('0' + number / divisor % 10);
    *end++ = '}';
    raw_call(SYS_write, last->report, (long)message, (long)(end - message), 0, 0);
    leave();
}

/* Like init/process.py: a filter may not know close_range (Linux 5.9). All descriptors have small numbers by now, so
 * closing them one by one ends soon. */
ALONE static void close_all(unsigned first, unsigned end) {
    if (first < end && raw_call(SYS_close_range, first, end - 1, 0, 0, 0))
        for (unsigned fd = first; fd < end && fd < 4096; fd++)
            raw_call(SYS_close, fd, 0, 0, 0, 0);
}

ALONE static long load_filter(const struct last *last, unsigned flags) {
    return raw_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&last->filter, 0, 0);
}

ALONE static void wait_for_start(const struct last *last, const struct range *kept, int count) {
    char word = 0;
#if GIVES_BACK
    give_back(last, kept, count);
#endif
    if (last->watch)
        watch(last->fifo);
    if (raw_call(SYS_read, last->fifo, (long)&word, 1, 0, 0) != 1 || word != AWAKE)
        leave();
    tell(last, AWAKE);
}

ALONE static void take_last_steps(struct last *last, const struct range *kept, int count) {
    if (last->fifo >= 0)
        wait_for_start(last, kept, count);
    close_all(last->first_foreign, last->report);
    close_all(last->report + 1, ~0U);
    tell(last, EXECUTING);
    if (last->filter.len)
        tell(last, FILTERED);
    if (last->loads_filter) {
        long result = load_filter(last, last->filter_flags);
        if (result == -EINVAL && last->filter_is_optional)
            result = load_filter(last, last->filter_flags & ~SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        if (result)
            fail(last, last->filter_failure, last->filter_failure_size, result);
    }
    long result = 0;
    for (int i = 0; i < last->limit_count && result == 0; i++)
        result = raw_call(SYS_prlimit64, 0, last->resources[i], (long)&last->limits[i], 0, 0);
    if (result == 0)
        result = raw_call(SYS_execve, (long)last->path, (long)last->argv, (long)last->envp, 0, 0);
    fail(last, last->exec_failure, last->exec_failure_size, result);
}

/* Copies something into the region, with room after it, and returns its address there. A first pass with NULL as the
 * region only measures. */
static void *put(char *region, size_t *used, const void *from, size_t size, size_t room) {
    size_t at = *used;
    *used += (size + room + 15) & -(size_t)16;
    return region ? memcpy(region + at, from, size) : NULL;
}

static char **put_texts(char *region, size_t *used, PyObject *texts) {
    Py_ssize_t count = PyTuple_GET_SIZE(texts);
    char **vector = (char **)(region ? region + *used : NULL);
    *used += (count + 1) * sizeof(*vector);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        char *place = put(region, used, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text) + 1, 0);
        if (region)
            vector[i] = place;
    }
    return vector; /* the last one stays NULL, like everything in a new region */
}

struct parts {
    Py_buffer path, program, filter_failure, exec_failure;
    PyObject *argv, *envp;
};

static size_t lay_out(char *region, struct last *last, const struct parts *parts) {
    size_t used = (sizeof(*last) + 15) & -(size_t)16;
    last->path = put(region, &used, parts->path.buf, parts->path.len, 1);
    last->filter.len = parts->program.len / sizeof(struct sock_filter);
    last->filter.filter = put(region, &used, parts->program.buf, parts->program.len, 0);
    last->filter_failure_size = parts->filter_failure.len;
    last->filter_failure = put(region, &used, parts->filter_failure.buf, parts->filter_failure.len, 16);
    last->exec_failure_size = parts->exec_failure.len;
    last->exec_failure = put(region, &used, parts->exec_failure.buf, parts->exec_failure.len, 16);
    last->argv = put_texts(region, &used, parts->argv);
    last->envp = put_texts(region, &used, parts->envp);
    return used;
}

static int is_of_bytes(PyObject *tuple) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
        if (!PyBytes_Check(PyTuple_GET_ITEM(tuple, i)))
            return 0;
    return 1;
}

static int parse_limits(struct last *last, PyObject *limits) {
    if (PyTuple_GET_SIZE(limits) > RLIM_NLIMITS)
        return -1;
    for (; last->limit_count < PyTuple_GET_SIZE(limits); last->limit_count++) {
        unsigned long long soft, hard;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(limits, last->limit_count), "iKK", &last->resources[last->limit_count],
                              &soft, &hard))
            return -1;
        last->limits[last->limit_count] = (struct rlimit64){.rlim_cur = soft, .rlim_max = hard};
    }
    return 0;
}

static void keep(struct range *kept, int *count, uintptr_t start, uintptr_t end) {
    int at = (*count)++;
    for (; at && kept[at - 1].start > start; at--)
        kept[at] = kept[at - 1];
    long page = sysconf(_SC_PAGESIZE);
    kept[at] = (struct range){start & -page, (end + page - 1) & -page};
}

#if GIVES_BACK
extern const char __start_ocipy_alone[] __attribute__((visibility("hidden")));
extern const char __stop_ocipy_alone[] __attribute__((visibility("hidden")));

/* The kernel writes to the rseq(2) area, whose offset is in libc's variable. Look it up at run time, since the running
 * libc may be newer than the headers. The area is aligned to its size, so it is on one page. The other addresses that
 * the kernel knows of this thread may become invalid (set_tid_address(2), get_robust_list(2)). */
static void keep_thread(struct range *kept, int *count) {
    const ptrdiff_t *rseq = dlsym(RTLD_DEFAULT, "__rseq_offset");
    keep(kept, count, thread_pointer(), thread_pointer() + 1);
    if (rseq)
        keep(kept, count, thread_pointer() + *rseq, thread_pointer() + *rseq + 1);
}

/* The top of the shadow stack, from which each return takes an address (the kernel's documentation, x86/shstk and
 * arm64/gcs); 0 if there is none. libc enables one only if GLIBC_TUNABLES says so and all of the executable was
 * compiled for it. */
static uintptr_t shadow_stack(void) {
    uintptr_t top = 0;
#if defined(__x86_64__)
    __asm__ volatile("rdsspq %0" : "+r"(top)); /* changes nothing where there is none */
#else
    static const unsigned long hwcap_gcs = 1UL << 32; /* since Linux 6.13 */
    if (getauxval(AT_HWCAP) & hwcap_gcs)
        __asm__ volatile("mrs %0, s3_3_c2_c5_1" : "=r"(top)); /* GCSPR_EL0 */
#endif
    return top;
}

/* It grows down; the last steps need a few more words. */
static void keep_shadow_stack(struct range *kept, int *count) {
    uintptr_t top = shadow_stack();
    if (top)
        keep(kept, count, top - LARGEST_PAGE, top + 1);
}
#endif

void (*before_last_steps)(void);

static PyObject *kernel_wait_and_execute(PyObject *self, PyObject *args) {
    struct last last = {0};
    struct parts parts;
    PyObject *limits;
    struct range kept[MOST_KEPT];
    int count = 0;
    if (!PyArg_ParseTuple(args, "iiipy*O!O!O!y*ppIpy*y*", &last.fifo, &last.report, &last.first_foreign, &last.watch,
                          &parts.path, &PyTuple_Type, &parts.argv, &PyTuple_Type, &parts.envp, &PyTuple_Type, &limits,
                          &parts.program, &last.filter_in_force, &last.loads_filter, &last.filter_flags,
                          &last.filter_is_optional, &parts.filter_failure, &parts.exec_failure))
        return NULL;
    if (parse_limits(&last, limits) || !is_of_bytes(parts.argv) || !is_of_bytes(parts.envp))
        return PyErr_Occurred() ? NULL
                                : PyErr_Format(PyExc_TypeError, "wait_and_execute: arguments and environment must be "
                                                                "bytes, limits no more than the kernel has");
    last.size = lay_out(NULL, &last, &parts);
    last.filter.filter = parts.program.buf;
    if (last.filter_in_force && !may_map(&last))
        Py_RETURN_NONE;
    char *region = mmap(NULL, last.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    lay_out(region, &last, &parts);
    memcpy(region, &last, sizeof(last));
    keep(kept, &count, (uintptr_t)region, (uintptr_t)region + last.size);
#if GIVES_BACK
    keep(kept, &count, (uintptr_t)__start_ocipy_alone, (uintptr_t)__stop_ocipy_alone);
    keep_thread(kept, &count);
    keep_shadow_stack(kept, &count);
#endif
    if (before_last_steps)
        before_last_steps();
    take_last_steps((struct last *)region, kept, count);
    return NULL;
}

PyMethodDef waiting_methods[] = {
    {"wait_and_execute", kernel_wait_and_execute, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
