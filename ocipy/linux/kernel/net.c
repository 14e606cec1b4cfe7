/* Network interfaces: netdevice(7). */
#include "kernel.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static PyObject *kernel_link_up(PyObject *self, PyObject *args) {
    const char *name;
    struct ifreq request = {0};
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    if (strlen(name) >= sizeof(request.ifr_name))
        return PyErr_Format(PyExc_ValueError, "link_up: the name is too long");
    strcpy(request.ifr_name, name);
    /* A socket of any family will do; every kernel has this one. */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    int result = ioctl(fd, SIOCGIFFLAGS, &request);
    if (result == 0) {
        request.ifr_flags |= IFF_UP;
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    PyObject *answer = none_or_error(result);
    close(fd);
    return answer;
}

PyMethodDef net_methods[] = {
    {"link_up", kernel_link_up, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
