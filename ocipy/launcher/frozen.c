/* The frozen file: the hot modules, compiled by freeze.py, which describes the format. It is code, so it has to be trusted. */
#include "launcher.h"
#include "start.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <marshal.h>

struct header {
    char magic[8];
    uint32_t python; /* major and minor version: the bytecode is the same for all releases of one */
    uint32_t count;
};

struct entry {
    char name[60];
    uint32_t is_package;
    uint32_t offset, size; /* of the code, in the file */
    char digest[32];       /* of the source, for the check that it is not stale */
};

static const char MAGIC[8] = "ocipyfz1";

static int refuse(const char *path, const char *reason) {
    dprintf(STDERR_FILENO, "ocipy: refusing to load %s: it %s\n", path, reason);
    return -1;
}

static const char *what_is_wrong(const char *file, size_t size) {
    const struct header *header = (const void *)file;
    if (size < sizeof(*header) || memcmp(header->magic, MAGIC, sizeof(MAGIC)))
        return "is not a file of frozen modules";
    if (header->python != Py_Version >> 16)
        return "was built for another Python; build or install ocipy again";
    const struct entry *entries = (const void *)(header + 1);
    if (header->count > (size - sizeof(*header)) / sizeof(*entries))
        return "is cut off";
    for (const struct entry *entry = entries; entry < entries + header->count; entry++)
        if (entry->offset > size || entry->size > size - entry->offset || !memchr(entry->name, '\0', sizeof(entry->name)))
            return "is cut off";
    return NULL;
}

static int make_table(const char *file) {
    const struct header *header = (const void *)file;
    const struct entry *entries = (const void *)(header + 1);
    struct _frozen *table = calloc(header->count + 1, sizeof(*table));
    if (!table)
        return -1;
    for (uint32_t i = 0; i < header->count; i++) {
        table[i].name = entries[i].name;
        table[i].code = (const unsigned char *)file + entries[i].offset;
        table[i].size = (int)entries[i].size;
        table[i].is_package = (int)entries[i].is_package;
    }
    PyImport_FrozenModules = table;
    return 0;
}

int load_frozen(const char *path) {
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &about) < 0) {
        complain("the runtime is incomplete; build or install it again:", path);
        return -1;
    }
    const char *reason = distrust(&about);
    char *file = MAP_FAILED;
    if (!reason) {
        file = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        reason = file == MAP_FAILED ? "cannot be mapped" : what_is_wrong(file, about.st_size);
    }
    close(fd);
    return reason ? refuse(path, reason) : make_table(file);
}

/* Importing a frozen module without importlib, whose Python code takes longer than most modules need to run.
 *
 * Every import statement that does not find its module loaded calls importlib._bootstrap._find_and_load(name, import). That name is
 * taken over: what is in the frozen file is loaded here, all else by the original. Where the name is missing, importlib's finder of
 * frozen modules serves as well: PyImport_FrozenModules is what both look at. */

static PyObject *bootstrap, *original;
static const char FIND_AND_LOAD[] = "_find_and_load";

static const struct _frozen *find_frozen(const char *name) {
    for (const struct _frozen *entry = PyImport_FrozenModules; entry && entry->name; entry++)
        if (!strcmp(entry->name, name))
            return entry;
    return NULL;
}

/* A new module in sys.modules, with the members that an import gives it. */
static PyObject *new_module(PyObject *name, PyObject *parent, int is_package) {
    PyObject *module = PyModule_NewObject(name);
    PyObject *path = is_package ? PyList_New(0) : NULL;
    PyObject *dict = module ? PyModule_GetDict(module) : NULL;
    int failed = !dict || (is_package && (!path || PyDict_SetItemString(dict, "__path__", path))) ||
                 PyDict_SetItemString(dict, "__package__", is_package ? name : parent) ||
                 PyDict_SetItemString(dict, "__builtins__", PyEval_GetBuiltins()) ||
                 PyDict_SetItem(PyImport_GetModuleDict(), name, module);
    Py_XDECREF(path);
    if (failed)
        Py_CLEAR(module);
    return module;
}

static int run_code(PyObject *module, const struct _frozen *entry) {
    PyObject *dict = PyModule_GetDict(module);
    PyObject *code = PyMarshal_ReadObjectFromString((const char *)entry->code, entry->size);
    PyObject *result = code ? PyEval_EvalCode(code, dict, dict) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Runs the module; one that fails is not left in sys.modules. */
static PyObject *load(PyObject *name, PyObject *parent, PyObject *tail, const struct _frozen *entry) {
    PyObject *above = NULL;
    if (PyUnicode_GET_LENGTH(parent)) {
        above = PyImport_GetModule(parent);
        if (!above && !PyErr_Occurred())
            above = PyImport_Import(parent);
        if (!above)
            return NULL;
        PyObject *already = PyImport_GetModule(name); /* the package may have imported it */
        if (already) {
            Py_DECREF(above);
            return already;
        }
    }
    PyObject *module = new_module(name, parent, entry->is_package);
    if (module && (run_code(module, entry) || (above && PyObject_SetAttr(above, tail, module)))) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyDict_DelItem(PyImport_GetModuleDict(), name);
        PyErr_Restore(type, value, traceback);
        Py_CLEAR(module);
    }
    Py_XDECREF(above);
    return module;
}

static PyObject *find_and_load(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    const char *text = count == 2 ? PyUnicode_AsUTF8(args[0]) : NULL;
    const struct _frozen *entry = text ? find_frozen(text) : NULL;
    if (!entry) {
        PyErr_Clear();
        return PyObject_Vectorcall(original, args, count, NULL);
    }
    const char *dot = strrchr(text, '.');
    PyObject *parent = PyUnicode_FromStringAndSize(text, dot ? dot - text : 0);
    PyObject *tail = PyUnicode_InternFromString(dot ? dot + 1 : text);
    PyObject *module = parent && tail ? load(args[0], parent, tail, entry) : NULL;
    Py_XDECREF(parent);
    Py_XDECREF(tail);
    return module;
}

static PyMethodDef shortcut = {FIND_AND_LOAD, (PyCFunction)(void (*)(void))find_and_load, METH_FASTCALL, NULL};

int take_over_imports(void) {
    bootstrap = PyImport_ImportModule("_frozen_importlib");
    original = bootstrap ? PyObject_GetAttrString(bootstrap, FIND_AND_LOAD) : NULL;
    PyObject *ours = original ? PyCFunction_New(&shortcut, NULL) : NULL;
    if (!ours) {
        PyErr_Clear();
        return 0;
    }
    int result = PyObject_SetAttrString(bootstrap, FIND_AND_LOAD, ours);
    Py_DECREF(ours);
    return result;
}

void forget_frozen(void) {
    PyImport_FrozenModules = NULL;
    if (original && PyObject_SetAttrString(bootstrap, FIND_AND_LOAD, original))
        PyErr_Clear();
}
