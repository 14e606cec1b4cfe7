#ifndef OCIPY_RAW_CALL_H
#define OCIPY_RAW_CALL_H

#include <errno.h>
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

#endif
