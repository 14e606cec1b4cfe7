/* When an executable seals itself by executing a sealed file, that file does not know where it came from. So it gets a
 * variable, IDENTITY "," DESCRIPTOR "=" PATH of the start library; for a sealed memfd nothing precedes the "=". */
#include "launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char START_VARIABLE[] = "_OCIPY_START";

int hand_over(const char *identity, const char *library) {
    char value[IDENTITY_SIZE + PATH_MAX];
    snprintf(value, sizeof(value), "%s=%s", identity, library);
    return setenv(START_VARIABLE, value, 1);
}

void take_over(char identity[IDENTITY_SIZE], char *path, int *descriptor) {
    const char *handed = getenv(START_VARIABLE), *equals = handed ? strchr(handed, '=') : NULL;
    *identity = *path = '\0';
    *descriptor = -1;
    if (equals && equals - handed < IDENTITY_SIZE && strlen(equals) <= PATH_MAX) {
        memcpy(identity, handed, equals - handed);
        identity[equals - handed] = '\0';
        strcpy(path, equals + 1);
        char *comma = strchr(identity, ',');
        if (comma) {
            *comma = '\0';
            *descriptor = atoi(comma + 1);
        }
    }
    forget_handed();
}

void forget_handed(void) {
    unsetenv(START_VARIABLE);
}
