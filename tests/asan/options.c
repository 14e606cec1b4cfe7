/* Linked into what tests/asan/run builds: the sanitizers' options in a process whose environment does not have them. */
#define COMMON "halt_on_error=1:log_path=" REPORTS

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void) {
    return "detect_leaks=0:" COMMON;
}
const char *__ubsan_default_options(void) {
    return "print_stacktrace=1:" COMMON;
}
