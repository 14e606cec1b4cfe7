/* Imports frozen modules without importlib, whose Python code takes longer than most of our modules need to run.
 *
 * The hook is the documented one: builtins.__import__ is replaced. The replacement handles modules that are loaded or
 * in the frozen file. It leaves everything else (relative imports, names that a module lacks, built-in modules) to the
 * original, whose finder of frozen modules reads the same table, PyImport_FrozenModules. Completing the start restores
 * the original. */
#include "start.h"

#include <marshal.h>

static PyObject *original;

/* The command's group: the code objects, by name, of the modules that it will import, all unmarshalled at once
 * (freeze.py). */
static PyObject *group;

/* Puts a new module into sys.modules, with the attributes that an import sets. Returns a borrowed reference. */
static PyObject *new_module(PyObject *name, PyObject *parent, int is_package) {
    PyObject *module = PyModule_NewObject(name);
    PyObject *path = is_package ? PyList_New(0) : NULL;
    PyObject *dict = module ? PyModule_GetDict(module) : NULL;
    int failed = !dict || (is_package && (!path || PyDict_SetItemString(dict, "__path__", path))) ||
                 PyDict_SetItemString(dict, "__package__", is_package ? name : parent) ||
                 PyDict_SetItemString(dict, "__builtins__", PyEval_GetBuiltins()) ||
                 PyDict_SetItem(PyImport_GetModuleDict(), name, module);
    Py_XDECREF(path);
    Py_XDECREF(module);
    return failed ? NULL : module;
}

static void load_group(const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "<%s>", name);
    const struct _frozen *entry = find_frozen(quoted);
    if (!entry)
        return;
    Py_XSETREF(group, PyMarshal_ReadObjectFromString((const char *)entry->code, entry->size));
    if (!group)
        PyErr_Clear(); /* each of these modules also has its own entry */
}

static PyObject *code_of(const struct _frozen *entry) {
    if (!strncmp(entry->name, "ocipy.cli.commands.", 19))
        load_group(entry->name);
    PyObject *code = group && PyDict_Check(group) ? PyDict_GetItemString(group, entry->name) : NULL;
    return code ? Py_NewRef(code) : PyMarshal_ReadObjectFromString((const char *)entry->code, entry->size);
}

static int run_code(PyObject *module, const struct _frozen *entry) {
    PyObject *dict = PyModule_GetDict(module);
    PyObject *code = code_of(entry);
    PyObject *result = code ? PyEval_EvalCode(code, dict, dict) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyObject *get_module(PyObject *name);

/* Imports the parent package, then makes the module and runs its code; removes a module whose code fails. Returns a
 * borrowed reference. */
static PyObject *load_below(PyObject *parent, PyObject *name, const char *tail, const struct _frozen *entry) {
    PyObject *above = PyUnicode_GET_LENGTH(parent) ? get_module(parent) : NULL;
    if (!above && (PyErr_Occurred() || PyUnicode_GET_LENGTH(parent)))
        return NULL;
    PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), name); /* the package may have imported it */
    if (module || PyErr_Occurred())
        return module;
    module = new_module(name, parent, entry->is_package);
    if (!module || (!run_code(module, entry) && (!above || !PyObject_SetAttrString(above, tail, module))))
        return module;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyDict_DelItem(PyImport_GetModuleDict(), name))
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return NULL;
}

/* The module with this full name, which is loaded now if it is frozen. Returns a borrowed reference; NULL without an
 * exception if it is neither loaded nor frozen. */
static PyObject *get_module(PyObject *name) {
    PyObject *module = PyDict_GetItemWithError(PyImport_GetModuleDict(), name);
    if (module || PyErr_Occurred())
        return module;
    const char *text = PyUnicode_AsUTF8(name);
    const struct _frozen *entry = text ? find_frozen(text) : NULL;
    if (!entry)
        return NULL;
    const char *dot = strrchr(text, '.');
    PyObject *parent = PyUnicode_FromStringAndSize(text, dot ? dot - text : 0);
    if (!parent)
        return NULL;
    module = load_below(parent, name, dot ? dot + 1 : text, entry);
    Py_DECREF(parent);
    return module;
}

/* For `from PACKAGE import NAME`: imports the submodule NAME if the package has no such attribute yet. Returns 1 if the
 * package has it now, 0 if the original must handle it, or -1 with an exception. */
static int has_member(PyObject *module, PyObject *package, PyObject *name) {
    if (!PyUnicode_Check(name) || !PyModule_Check(module))
        return 0;
    int there = PyDict_Contains(PyModule_GetDict(module), name);
    if (there)
        return there;
    PyObject *full = PyUnicode_FromFormat("%U.%U", package, name);
    PyObject *found = full ? get_module(full) : NULL;
    Py_XDECREF(full);
    return PyErr_Occurred() ? -1 : found != NULL;
}

/* The result of `import NAME` (the top-level package) or `from NAME import …` (the module): a new reference, or NULL
 * without an exception if the original must handle it. */
static PyObject *answer(PyObject *name, PyObject *members) {
    PyObject *module = get_module(name);
    if (!module)
        return NULL;
    if (members == Py_None || PyTuple_GET_SIZE(members) == 0) {
        Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1);
        PyObject *first = dot < 0 ? Py_NewRef(name) : PyUnicode_Substring(name, 0, dot);
        module = first ? PyDict_GetItemWithError(PyImport_GetModuleDict(), first) : NULL;
        Py_XDECREF(first);
        return Py_XNewRef(module);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(members); i++)
        if (has_member(module, name, PyTuple_GET_ITEM(members, i)) <= 0)
            return NULL;
    return Py_NewRef(module);
}

/* __import__(name, globals=None, locals=None, fromlist=(), level=0) */
static PyObject *import(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    PyObject *members = count > 3 ? args[3] : Py_None;
    int absolute = count < 5 || (PyLong_Check(args[4]) && PyLong_AsLong(args[4]) == 0);
    if (!keywords && count && PyUnicode_CheckExact(args[0]) && absolute &&
        (members == Py_None || PyTuple_CheckExact(members))) {
        PyObject *module = answer(args[0], members);
        if (module || PyErr_Occurred())
            return module;
    }
    return PyObject_Vectorcall(original, args, count, keywords);
}

static PyMethodDef hook = {"__import__", (PyCFunction)(void (*)(void))import, METH_FASTCALL | METH_KEYWORDS, NULL};

int take_over_imports(void) {
    PyObject *builtins = PyEval_GetBuiltins();
    original = Py_XNewRef(PyDict_GetItemString(builtins, hook.ml_name));
    PyObject *ours = original ? PyCFunction_New(&hook, NULL) : NULL;
    int result = ours ? PyDict_SetItemString(builtins, hook.ml_name, ours) : -1;
    Py_XDECREF(ours);
    return result;
}

int give_back_imports(void) {
    int result = PyDict_SetItemString(PyEval_GetBuiltins(), hook.ml_name, original);
    Py_CLEAR(original);
    return result;
}

int imports_are_ours(void) {
    return original != NULL;
}
