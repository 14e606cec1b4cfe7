/* A process's attributes and privileges: prctl(2), capabilities(7), prlimit(2), host name, session keyring. */
#include "kernel.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static PyObject *kernel_prctl(PyObject *self, PyObject *args) {
    int option;
    long arg2 = 0, arg3 = 0, arg4 = 0, arg5 = 0;
    if (!PyArg_ParseTuple(args, "i|llll", &option, &arg2, &arg3, &arg4, &arg5))
        return NULL;
    return int_or_error(prctl(option, arg2, arg3, arg4, arg5));
}

static PyObject *kernel_set_name(PyObject *self, PyObject *args) {
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    return none_or_error(prctl(PR_SET_NAME, name, 0, 0, 0));
}

static PyObject *kernel_capget(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct low_high[2];
    if (syscall(SYS_capget, &header, low_high) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
#define WHOLE(set) ((unsigned long long)low_high[1].set << 32 | low_high[0].set)
    return Py_BuildValue("(KKK)", WHOLE(effective), WHOLE(permitted), WHOLE(inheritable));
#undef WHOLE
}

/* Not from /proc/sys: a /proc with subset=pid lacks it. In C, since an exception takes longer than all these calls. */
static PyObject *kernel_last_capability(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    long last = CAP_LAST_CAP;
    while (prctl(PR_CAPBSET_READ, last + 1, 0, 0, 0) >= 0)
        last++;
    while (last > 0 && prctl(PR_CAPBSET_READ, last, 0, 0, 0) < 0)
        last--;
    return PyLong_FromLong(last);
}

/* One call for all: usually a container keeps only a few. */
static PyObject *kernel_drop_bounding(PyObject *self, PyObject *args) {
    unsigned long long unwanted;
    if (!PyArg_ParseTuple(args, "K", &unwanted))
        return NULL;
    for (long number = 0; number < 64; number++) {
        if (!(unwanted >> number & 1) || prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0)
            continue;
        int refusal = errno;
        if (refusal == EPERM && prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 0)
            continue;
        PyObject *refused = PyLong_FromLong(number);
        errno = refusal;
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, refused);
        Py_XDECREF(refused);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *kernel_capset(PyObject *self, PyObject *args) {
    unsigned long long effective, permitted, inheritable;
    if (!PyArg_ParseTuple(args, "KKK", &effective, &permitted, &inheritable))
        return NULL;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct low_high[2] = {
        {.effective = effective, .permitted = permitted, .inheritable = inheritable},
        {.effective = effective >> 32, .permitted = permitted >> 32, .inheritable = inheritable >> 32},
    };
    return none_or_error(syscall(SYS_capset, &header, low_high));
}

/* Convert an int from 0 to 2**64-1 into *limit. Returns 0; 1 if the int is negative; -1 with an exception. */
static int parse_limit(PyObject *value, rlim64_t *limit) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (number == -1 && !overflow && PyErr_Occurred())
        return -1;
    if (overflow < 0 || (!overflow && number < 0))
        return 1;
    *limit = PyLong_AsUnsignedLongLong(value);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *kernel_prlimit(PyObject *self, PyObject *args) {
    int pid, resource;
    PyObject *soft, *hard;
    if (!PyArg_ParseTuple(args, "iiO!O!", &pid, &resource, &PyLong_Type, &soft, &PyLong_Type, &hard))
        return NULL;
    struct rlimit64 new, old;
    int soft_kind = parse_limit(soft, &new.rlim_cur), hard_kind = parse_limit(hard, &new.rlim_max);
    if (soft_kind < 0 || hard_kind < 0)
        return NULL;
    if (soft_kind != hard_kind)
        return PyErr_Format(PyExc_ValueError, "prlimit: only one of the limits is negative");
    if (syscall(SYS_prlimit64, pid, resource, soft_kind ? NULL : &new, &old) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(KK)", (unsigned long long)old.rlim_cur, (unsigned long long)old.rlim_max);
}

static PyObject *kernel_sethostname(PyObject *self, PyObject *args) {
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#", &name, &size))
        return NULL;
    return none_or_error(sethostname(name, size));
}

static PyObject *kernel_setdomainname(PyObject *self, PyObject *args) {
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "s#", &name, &size))
        return NULL;
    return none_or_error(setdomainname(name, size));
}

static PyObject *kernel_join_session_keyring(PyObject *self, PyObject *args) {
    const char *name;
    if (!PyArg_ParseTuple(args, "z", &name))
        return NULL;
    return int_or_error(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0));
}

static PyObject *kernel_keyctl_describe(PyObject *self, PyObject *args) {
    int key;
    char text[4096];
    if (!PyArg_ParseTuple(args, "i", &key))
        return NULL;
    long size = syscall(SYS_keyctl, KEYCTL_DESCRIBE, key, text, sizeof(text), 0);
    if (size > (long)sizeof(text)) { /* the kernel wrote nothing */
        errno = EMSGSIZE;
        size = -1;
    }
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyUnicode_DecodeUTF8(text, size ? size - 1 : 0, "surrogateescape");
}

static PyObject *kernel_keyctl_setperm(PyObject *self, PyObject *args) {
    int key;
    unsigned int permissions;
    if (!PyArg_ParseTuple(args, "iI", &key, &permissions))
        return NULL;
    return none_or_error(syscall(SYS_keyctl, KEYCTL_SETPERM, key, permissions, 0, 0));
}

PyMethodDef identity_methods[] = {
    {"prctl", kernel_prctl, METH_VARARGS, NULL},
    {"set_name", kernel_set_name, METH_VARARGS, NULL},
    {"capget", kernel_capget, METH_NOARGS, NULL},
    {"drop_bounding", kernel_drop_bounding, METH_VARARGS, NULL},
    {"last_capability", kernel_last_capability, METH_NOARGS, NULL},
    {"capset", kernel_capset, METH_VARARGS, NULL},
    {"prlimit", kernel_prlimit, METH_VARARGS, NULL},
    {"sethostname", kernel_sethostname, METH_VARARGS, NULL},
    {"setdomainname", kernel_setdomainname, METH_VARARGS, NULL},
    {"join_session_keyring", kernel_join_session_keyring, METH_VARARGS, NULL},
    {"keyctl_describe", kernel_keyctl_describe, METH_VARARGS, NULL},
    {"keyctl_setperm", kernel_keyctl_setperm, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
