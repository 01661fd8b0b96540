/* A process that is confined for a test: what became of it is its status and what it said. */
#ifndef VIV_HOST_SANDBOX_TRY_H
#define VIV_HOST_SANDBOX_TRY_H

#include "host/sandbox.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

#define ENDED 159 /* what a process that was ended says */

extern const char *try_dir; /* of this test; has no dot */
extern const struct viv_sandbox lenient, strict;

/* In the confined process: what must hold there. */
#define CHECK(x)                                                                                                                           \
    do {                                                                                                                                   \
        if (!(x)) {                                                                                                                        \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #x, errno);                                                              \
            _exit(1);                                                                                                                      \
        }                                                                                                                                  \
    } while (0)

/* g_test_init(), and try_dir. */
void sandbox_try_init(int *argc, char ***argv);
/* g_test_run(), and try_dir is gone. */
int sandbox_try_run(void);
/* A path in that folder; g_free() it. */
char *in_dir(const char *name);
/* Ends the set-up in a confined process, or the process (99). */
void seal(void);
/* Runs fn in a process of its own that has started a sandbox (98: it did not start); returns its wait status, *said (g_free() it; or NULL)
 * what it wrote. */
int confined(const struct viv_sandbox *s, void (*fn)(const void *), const void *arg, char **said);

#endif
