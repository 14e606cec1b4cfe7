/* Finds why and where a text is not JSON. */
#ifndef OCIPY_JSON_FAULTS_H
#define OCIPY_JSON_FAULTS_H

#include "kernel.h"

#include <yajl/yajl_parse.h>

/* How far YAJL got in a text. */
typedef struct {
    yajl_handle parser;
    const char *text;
    size_t size;
    yajl_status status;
    size_t consumed; /* bytes; 0 if the text ended too early */
    size_t end;      /* offset of the end of the last value or name, or of the text, if it was reached */
} Parse;

/* Return 0 if the text is JSON, else -1 with ValueError(reason, byte offset) for the first fault, or with the exception
 * of a callback. */
int refuse_fault(const Parse *parse);

/* Decode UTF-8 to a string, or NULL with UnicodeError. Python's own strict decoder looks up its error handler in the
 * codec registry, which an interpreter in its core phase does not have. */
PyObject *decode_strictly(const char *bytes, size_t size);

#endif
