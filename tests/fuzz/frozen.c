/* A file of frozen modules is refused, or contains every byte that its table names. Starts from a correct header, which
 * would not occur by chance. */
#include <stddef.h>

#include "../../ocipy/launcher/frozen.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct frozen_header header = {.python = Py_Version >> 16};
    memcpy(header.magic, MAGIC, sizeof(MAGIC));
    char *file = malloc(size ? size : 1);
    if (size)
        memcpy(file, data, size);
    size_t right = offsetof(struct frozen_header, count);
    if (size > right && data[size - 1] & 1)
        memcpy(file, &header, right);
    if (!what_is_wrong(file, size) && !make_table(file)) {
        volatile unsigned char sum = 0;
        for (const struct _frozen *entry = PyImport_FrozenModules; entry->name; entry++) {
            sum += find_frozen(entry->name) ? 1 : 0;
            for (int i = 0; i < entry->size; i++)
                sum += entry->code[i];
        }
        forget_frozen();
    }
    free(file);
    return 0;
}
