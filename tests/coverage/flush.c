/* A preloaded library: writes the counters of everything that is loaded, also when a process ends by _exit(2). */
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 16 };

static struct {
    void (*dump)(void), (*reset)(void);
} counted[MOST];
static int count;

void coverage_add(void (*dump)(void), void (*reset)(void));
void coverage_dump(void);
void coverage_reset(void);

void coverage_add(void (*dump)(void), void (*reset)(void)) {
    if (count < MOST) {
        counted[count].dump = dump;
        counted[count++].reset = reset;
    }
}
void coverage_dump(void) {
    for (int i = 0; i < count; i++)
        counted[i].dump();
}
void coverage_reset(void) {
    for (int i = 0; i < count; i++)
        counted[i].reset();
}
void _exit(int status) {
    coverage_dump();
    for (;;)
        syscall(SYS_exit_group, status);
}
