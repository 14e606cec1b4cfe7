/* Signals: rt_sigaction(2), sigprocmask(2), signalfd(2). Raw calls, since libc reserves two signals for itself. */
#include "kernel.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { LAST_SIGNAL = 64, KERNEL_MASK_SIZE = LAST_SIGNAL / 8 };

static PyObject *kernel_reset_signals(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    /* All zeros mean SIG_DFL, no flags and no mask, in whatever order the architecture has struct sigaction's members.
     */
    static const unsigned long by_default[8];
    static const unsigned long long nothing = 0;
    for (int signal = 1; signal <= LAST_SIGNAL; signal++)
        if (signal != SIGKILL && signal != SIGSTOP &&
            syscall(SYS_rt_sigaction, signal, by_default, NULL, KERNEL_MASK_SIZE) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
    return none_or_error(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, KERNEL_MASK_SIZE));
}

static PyObject *kernel_exit_on_signal(PyObject *self, PyObject *args) {
    int signal;
    struct sigaction action = {.sa_handler = exit_by_signal};
    if (!PyArg_ParseTuple(args, "i", &signal))
        return NULL;
    return none_or_error(sigaction(signal, &action, NULL));
}

static PyObject *kernel_signal_is_ignored(PyObject *self, PyObject *args) {
    int signal;
    struct sigaction action;
    if (!PyArg_ParseTuple(args, "i", &signal))
        return NULL;
    if (sigaction(signal, NULL, &action))
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyBool_FromLong(action.sa_handler == SIG_IGN);
}

/* Make the set of the signals in a sequence, or of all signals if it is empty. 0, or -1 with an exception. */
static int parse_signals(PyObject *signals, sigset_t *set) {
    PyObject *fast = PySequence_Fast(signals, "signals: a sequence of int");
    if (!fast)
        return -1;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    sigemptyset(set);
    if (count == 0)
        sigfillset(set);
    for (Py_ssize_t i = 0; i < count; i++) {
        long signal = PyLong_AsLong(PySequence_Fast_GET_ITEM(fast, i));
        if (PyErr_Occurred())
            break;
        if (signal < 1 || signal > LAST_SIGNAL || sigaddset(set, signal)) {
            PyErr_Format(PyExc_ValueError, "signal %ld is out of range", signal);
            break;
        }
    }
    Py_DECREF(fast);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *kernel_signalfd(PyObject *self, PyObject *args) {
    PyObject *signals;
    sigset_t set;
    if (!PyArg_ParseTuple(args, "O", &signals) || parse_signals(signals, &set))
        return NULL;
    if (sigprocmask(SIG_BLOCK, &set, NULL))
        return PyErr_SetFromErrno(PyExc_OSError);
    return int_or_error(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

static PyObject *kernel_read_signal(PyObject *self, PyObject *args) {
    int fd;
    struct signalfd_siginfo info;
    if (!PyArg_ParseTuple(args, "i", &fd))
        return NULL;
    ssize_t size = read(fd, &info, sizeof(info));
    if (size < 0 && errno == EAGAIN)
        Py_RETURN_NONE;
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(ii)", (int)info.ssi_signo, (int)info.ssi_pid);
}

PyMethodDef signal_methods[] = {
    {"reset_signals", kernel_reset_signals, METH_NOARGS, NULL},
    {"exit_on_signal", kernel_exit_on_signal, METH_VARARGS, NULL},
    {"signal_is_ignored", kernel_signal_is_ignored, METH_VARARGS, NULL},
    {"signalfd", kernel_signalfd, METH_VARARGS, NULL},
    {"read_signal", kernel_read_signal, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
