/* For the launcher: what runs right before init gives its memory back (waiting.c), NULL for nothing. */
#ifndef OCIPY_ALONE_H
#define OCIPY_ALONE_H

extern void (*before_last_steps)(void);

#endif
