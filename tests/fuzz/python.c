/* See python.h. TOP, the directory that has the package ocipy, is set at build time. */
#include "python.h"

PyMODINIT_FUNC PyInit__kernel(void);

_Noreturn void fail(const char *what) {
    fprintf(stderr, "fuzz: %s\n", what);
    if (PyErr_Occurred())
        PyErr_Print();
    abort();
}

PyObject *start_python(void) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    PyImport_AppendInittab("_kernel", PyInit__kernel);
    if (PyStatus_Exception(Py_InitializeFromConfig(&config)))
        fail("Python does not start");
    PyConfig_Clear(&config);
    PyObject *path = PySys_GetObject("path"), *top = PyUnicode_FromString(TOP);
    PyObject *kernel = PyImport_ImportModule("_kernel");
    if (!path || !top || !kernel || PyList_Insert(path, 0, top))
        fail("no C extension");
    Py_DECREF(top);
    /* For `from ocipy.linux import _kernel`. */
    PyObject *package = PyImport_ImportModule("ocipy.linux");
    if (!package || PyObject_SetAttrString(package, "_kernel", kernel) ||
        PyDict_SetItemString(PyImport_GetModuleDict(), "ocipy.linux._kernel", kernel))
        fail("no package ocipy");
    Py_DECREF(package);
    return kernel;
}
