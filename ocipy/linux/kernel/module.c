/* The module itself, with the functions of all files. */
#include "kernel.h"

static PyMethodDef *const tables[] = {
    bpf_methods,     data_methods,   descriptor_methods, identity_methods, json_read_methods, json_write_methods,
    mount_methods,   net_methods,    path_methods,       process_methods,  rule_methods,      scheduling_methods,
    seccomp_methods, signal_methods, tty_methods,        waiting_methods,
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ocipy.linux._kernel",
    .m_doc = "Thin system-call wrappers; see _kernel.pyi.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        if (PyModule_AddFunctions(module, tables[i])) {
            Py_DECREF(module);
            return NULL;
        }
    return module;
}
