/* waiting.c: a function that runs right before init gives its memory back, or NULL. The launcher sets it. */
#ifndef OCIPY_ALONE_H
#define OCIPY_ALONE_H

extern void (*before_last_steps)(void);

#endif
