/* Any datagram on a channel is a message or an ocipy.errors.Error, never another exception. */
#include "python.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static PyObject *receiver, *our_error;
static int sender;

static void make_channel(void) {
    start_python();
    PyObject *module = PyImport_ImportModule("ocipy.linux.channel");
    PyObject *pair = module ? PyObject_CallMethod(module, "pair", NULL) : NULL;
    PyObject *fd = pair ? PyObject_GetAttrString(PyTuple_GET_ITEM(pair, 1), "fd") : NULL;
    our_error = module ? PyObject_GetAttrString(module, "Error") : NULL;
    if (!fd || !our_error)
        fail("no channel");
    sender = (int)PyLong_AsLong(fd);
    receiver = PyTuple_GET_ITEM(pair, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!receiver)
        make_channel();
    if (send(sender, data, size, MSG_DONTWAIT) < 0)
        return 0; /* longer than a datagram can be */
    PyObject *message = PyObject_CallMethod(receiver, "receive", NULL);
    if (!message && !PyErr_ExceptionMatches(our_error))
        fail("another exception than Error");
    PyErr_Clear();
    Py_XDECREF(message);
    return 0;
}
