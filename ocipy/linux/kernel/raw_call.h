#ifndef OCIPY_RAW_CALL_H
#define OCIPY_RAW_CALL_H

#include <errno.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A system call without libc, for code that shares libc's errno with another process, or that has unmapped libc.
 * Returns -errno on failure. */
static inline __attribute__((always_inline)) long raw_call(long number, long first, long second, long third,
                                                           long fourth, long fifth) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = fourth;
    register long r8 __asm__("r8") = fifth;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register long x1 __asm__("x1") = second;
    register long x2 __asm__("x2") = third;
    register long x3 __asm__("x3") = fourth;
    register long x4 __asm__("x4") = fifth;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
    long result = syscall(number, first, second, third, fourth, fifth);
    return result < 0 ? -errno : result;
#endif
}

/* clone3(2) with CLONE_VM and CLONE_VFORK on the same stack. Returns 0 in the child, or -errno. The parent must not
 * return, because the child has used its stack: it exits when the child has left the shared memory, without touching
 * the stack. -ENOSYS: not implemented for this architecture, or not for sanitizers. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
static inline __attribute__((always_inline)) long clone_and_exit(const struct clone_args *how) {
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jle 0f\n\t"
                     "mov %[exit], %%eax\n\t"
                     "xor %%edi, %%edi\n\t"
                     "syscall\n\t"
                     "hlt\n"
                     "0:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(how), "S"(sizeof(*how)), [exit] "i"(SYS_exit_group)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__) && !defined(__SANITIZE_ADDRESS__)
static inline __attribute__((always_inline)) long clone_and_exit(const struct clone_args *how) {
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)how;
    register long x1 __asm__("x1") = sizeof(*how);
    __asm__ volatile("svc 0\n\t"
                     "cmp x0, 0\n\t"
                     "b.le 0f\n\t"
                     "mov x8, %[exit]\n\t"
                     "mov x0, 0\n\t"
                     "svc 0\n\t"
                     "brk 0\n"
                     "0:"
                     : "+r"(x0), "+r"(x8)
                     : "r"(x1), [exit] "i"(SYS_exit_group)
                     : "cc", "memory");
    return x0;
}
#else
static inline long clone_and_exit(const struct clone_args *how) {
    return how ? -ENOSYS : 0;
}
#endif

#endif
