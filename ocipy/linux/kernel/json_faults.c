/* Finds why and where a text is not JSON: YAJL's own error with its exact place, and the faults that YAJL accepts. */
#include "json_faults.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_REASON = 128 };

typedef struct {
    char reason[MAX_REASON]; /* empty: no fault yet */
    size_t offset;
} Fault;

/* Note a fault, unless one at an earlier or the same place is known. */
static void note(Fault *fault, const char *reason, size_t size, size_t offset) {
    if (*fault->reason && fault->offset <= offset)
        return;
    fault->offset = offset;
    snprintf(fault->reason, MAX_REASON, "%.*s", (int)size, reason);
}

static void note_text(Fault *fault, const char *reason, size_t offset) {
    note(fault, reason, strlen(reason), offset);
}

static int is_one_of(char c, const char *characters) {
    return c && strchr(characters, c);
}

/* The code unit of a complete "\uXXXX", or -1. */
static int code_unit(const char *at, const char *end) {
    char digits[5] = "", *rest;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u' || !Py_ISXDIGIT(at[2]))
        return -1;
    memcpy(digits, at + 2, 4);
    long unit = strtol(digits, &rest, 16);
    return rest == digits + 4 ? (int)unit : -1;
}

static int is_high(int unit) {
    return unit >= 0xd800 && unit < 0xdc00;
}

static int is_low(int unit) {
    return unit >= 0xdc00 && unit < 0xe000;
}

/* Half of a surrogate pair, which YAJL turns into another character. For a high half, the offset is where the low one
 * should be. */
static void note_half_pair(Fault *fault, const char *text, size_t size) {
    const char *end = text + size, *at = text;
    while (at < end && (at = memchr(at, '\\', end - at))) {
        int unit = code_unit(at, end);
        const char *next = at + (unit < 0 ? 2 : 6);
        if (is_low(unit) || (is_high(unit) && !is_low(code_unit(next, end)))) {
            note_text(fault, "half of a surrogate pair", (is_low(unit) ? at : next) - text);
            return;
        }
        at = is_high(unit) ? next + 6 : next;
    }
}

/* YAJL accepts vertical tab and form feed as white space. */
static void note_blanks(Fault *fault, const char *text, size_t size) {
    for (const char *blank = "\v\f"; *blank; blank++) {
        const char *at = memchr(text, *blank, size);
        if (at)
            note_text(fault, "a control character", at - text);
    }
}

/* The first byte at or after an offset that is not one of these characters, or the end. */
static size_t skip(const Parse *parse, size_t from, const char *characters) {
    while (from < parse->size && is_one_of(parse->text[from], characters))
        from++;
    return from;
}

/* Text after the document. YAJL accepts it if it is the beginning of a string. */
static void note_rest(Fault *fault, const Parse *parse) {
    size_t rest = skip(parse, parse->end, " \t\r\n");
    if (parse->status == yajl_status_ok && rest < parse->size)
        note_text(fault, "trailing garbage", rest);
}

/* Where the unexpected text begins; in a malformed string, number or word, the offending byte. */
static size_t place_of(const Parse *parse, int malformed) {
    const char *text = parse->text;
    size_t start = skip(parse, parse->end, " \t\r\n,:");
    if (malformed)
        return start < parse->consumed && is_one_of(text[start], "\"-0123456789tfn") ? parse->consumed : start;
    /* Of two successive commas or colons the second is at fault; of successive values the first that is unexpected. */
    return parse->consumed && is_one_of(text[parse->consumed - 1], ",:") ? parse->consumed - 1 : start;
}

/* YAJL's own error: a line with a kind, a colon and the reason. */
static void note_error(Fault *fault, const Parse *parse) {
    unsigned char *line = yajl_get_error(parse->parser, 0, NULL, 0);
    const char *colon = line ? strstr((const char *)line, ": ") : NULL;
    const char *reason = colon ? colon + 2 : "malformed";
    note(fault, reason, strcspn(reason, ".\n"), place_of(parse, line && !strncmp((const char *)line, "lexical", 7)));
    if (line)
        yajl_free_error(parse->parser, line);
}

/* The byte offset of the first byte that surrogateescape had to escape; -1 if there is none. */
static Py_ssize_t escaped_at(PyObject *string) {
    int kind = PyUnicode_KIND(string);
    const void *data = PyUnicode_DATA(string);
    Py_ssize_t length = PyUnicode_GET_LENGTH(string), offset = 0;
    if (kind == PyUnicode_1BYTE_KIND)
        return -1;
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 character = PyUnicode_READ(kind, data, i);
        if (character >= 0xdc80 && character <= 0xdcff)
            return offset;
        offset += character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    }
    return -1;
}

PyObject *decode_strictly(const char *bytes, size_t size) {
    PyObject *string = PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, "surrogateescape");
    if (!string || escaped_at(string) < 0)
        return string;
    Py_DECREF(string);
    PyErr_SetString(PyExc_UnicodeError, "invalid UTF-8");
    return NULL;
}

/* Invalid UTF-8 in a refused document. Outside its strings, YAJL has refused all that is not ASCII. */
static void note_undecodable(Fault *fault, const char *text, size_t size) {
    PyObject *string = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, "surrogateescape");
    Py_ssize_t offset = string ? escaped_at(string) : -1;
    if (offset >= 0)
        note_text(fault, "invalid UTF-8", offset);
    PyErr_Clear();
    Py_XDECREF(string);
}

int refuse_fault(const Parse *parse) {
    Fault fault = {0};
    if (parse->status == yajl_status_client_canceled && !PyErr_ExceptionMatches(PyExc_UnicodeError))
        return -1;
    PyErr_Clear();
    note_blanks(&fault, parse->text, parse->size);
    note_half_pair(&fault, parse->text, parse->size);
    note_rest(&fault, parse);
    if (parse->status == yajl_status_error)
        note_error(&fault, parse);
    if (parse->status != yajl_status_ok)
        note_undecodable(&fault, parse->text, parse->size);
    if (!*fault.reason)
        return 0;
    PyObject *args = Py_BuildValue("(sn)", fault.reason, (Py_ssize_t)fault.offset);
    if (args)
        PyErr_SetObject(PyExc_ValueError, args);
    Py_XDECREF(args);
    return -1;
}
