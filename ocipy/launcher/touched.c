/* The pages of a snapshot that commands write to, if only to count references. They are copied all at once when the
 * snapshot is mapped, which takes the kernel half the time of separate page faults. Trial runs find them when the
 * snapshot is made. */
#include "snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = SNAPSHOT_PAGE, MAX_GAP = 1, MAX_PAGES = UINT16_MAX };

void copy_touched(const struct touched *touched, struct extent data, struct extent heap) {
    size_t border = data.size / PAGE, end = border + heap.size / PAGE;
    for (int i = 0; i < touched->count && i < MAX_RUNS; i++) {
        size_t first = touched->runs[i].first, pages = touched->runs[i].pages;
        if (first + pages > (first < border ? border : end))
            return;
        uint64_t start = first < border ? data.start + first * PAGE : heap.start + (first - border) * PAGE;
        if (madvise((void *)start, pages * PAGE, MADV_POPULATE_WRITE))
            return; /* before Linux 5.14; page faults copy them one by one */
    }
}

/* proc_pid_pagemap(5): bit 63 means present, bit 61 file-backed or shared. A present page that is not file-backed is a
 * copy. */
static int is_copy(uint64_t entry) {
    return entry >> 63 && !(entry >> 61 & 1);
}

static int add_runs(struct touched *touched, const unsigned char known[MAX_PAGES], int pagemap, struct extent extent,
                    size_t offset) {
    size_t next = 0; /* after the last run of this extent */
    for (size_t page = 0; page < extent.size / PAGE && offset + page < MAX_PAGES; page++) {
        uint64_t entry;
        if (pread(pagemap, &entry, sizeof(entry), (extent.start / PAGE + page) * sizeof(entry)) != sizeof(entry))
            return -1;
        if (!is_copy(entry) || known[offset + page])
            continue;
        if (!next || page > next + MAX_GAP) {
            if (touched->count == MAX_RUNS)
                return -1;
            touched->runs[touched->count].first = offset + page;
            touched->count++;
        }
        next = page + 1;
        touched->runs[touched->count - 1].pages = offset + next - touched->runs[touched->count - 1].first;
    }
    return 0;
}

int find_touched(struct touched *touched, const struct touched *others, struct extent data, struct extent heap) {
    static unsigned char known[MAX_PAGES];
    for (int i = 0; touched != others && i < others->count && i < MAX_RUNS; i++)
        for (size_t page = others->runs[i].first; page < others->runs[i].first + others->runs[i].pages; page++)
            known[page % MAX_PAGES] = 1;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    touched->count = 0;
    if (pagemap < 0)
        return -1;
    int failed =
        add_runs(touched, known, pagemap, data, 0) || add_runs(touched, known, pagemap, heap, data.size / PAGE);
    close(pagemap);
    return failed ? -1 : 0;
}
