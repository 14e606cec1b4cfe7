/* Maps parts of the snapshot, for the runtime and for the launcher, and keeps the file in the page cache in huge pages
 * (docs/performance.md, Huge pages). */
#include "snapshot_format.h"

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

enum { PAGE = SNAPSHOT_PAGE };

/* Whether the page cache has these pages of a mapped file, two at most. To a process that neither owns the file nor may
 * write to it, mincore(2) says so of every page. */
static int are_cached(char *page, uint64_t count) {
    unsigned char cached[2] = {1, 1};
    return mincore(page, count * PAGE, cached) || cached[0] & cached[1] & 1;
}

/* Reads a huge page by its first page. Returns whether all of it is in the page cache now. If memory is short, and
 * before Linux 5.18 or without transparent huge pages, the kernel reads only a part of it. */
static int read_whole(char *start, uint64_t size) {
    return !madvise(start, PAGE, MADV_POPULATE_READ) &&
           are_cached(start + (size < HUGE_PAGE ? size : HUGE_PAGE) - PAGE, 1);
}

/* Reads each huge page that the page cache lacks, one at a time. An ordinary page fault would have the kernel read the
 * next one too, and a later fault, perhaps of another process, would read ahead in smaller pieces. So if many processes
 * started at once after the file was dropped from the cache, most of it would be cached in single pages, and stay so.
 * With MADV_RANDOM the kernel does neither. That must not outlast this function: the kernel would map each page by a
 * separate fault. */
static void read_missing(char *start, uint64_t size) {
    int at_random = 0;
    for (uint64_t at = 0; at < size; at += 2 * HUGE_PAGE) {
        /* one call for the last page of one and the first of the next: 0.9 µs */
        uint64_t next = at + HUGE_PAGE;
        if (next < size ? are_cached(start + next - PAGE, 2) : are_cached(start + at, 1))
            continue;
        if (!at_random)
            at_random = !madvise(start, size, MADV_RANDOM);
        if (!read_whole(start + at, size - at) || (next < size && !read_whole(start + next, size - next)))
            break; /* leave the rest to page faults */
    }
    if (at_random)
        (void)madvise(start, size, MADV_NORMAL);
}

int map_segment(int file, const struct segment *segment, int how) {
    char *place = (char *)segment->start;
    if (mmap(place, segment->size, (int)segment->protection, MAP_PRIVATE | how, file, (off_t)segment->offset) != place)
        return -1;
    /* What is not in the page cache, the kernel then reads in huge pages (madvise(2)). For other mappings it would read
     * single pages, up to half of read_ahead_kb on either side, and these would keep the huge pages around out of the
     * cache. On a filesystem without large folios, it reads as much, in single pages. */
    (void)madvise(place, segment->size, MADV_HUGEPAGE);
    if (segment->offset % HUGE_PAGE == 0) /* not the libraries, which share huge pages with each other */
        read_missing(place, segment->size);
    return 0;
}

int map_heap_and_data(int file, const struct header *header, int how) {
    struct segment heap = {header->heap.start, header->heap.size, header->heap_at, PROT_READ | PROT_WRITE, 0};
    struct segment data = {header->data.start, header->data.size, DATA_AT, PROT_READ | PROT_WRITE, 0};
    return map_segment(file, &heap, MAP_FIXED_NOREPLACE) || map_segment(file, &data, how) ? -1 : 0;
}
