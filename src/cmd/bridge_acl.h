/* Which bridges users may have a TAP interface on: the rules of viv-bridge-helper.
 *
 * A file has a rule a line; what follows a '#' at a line's beginning is a comment:
 *     allow BRIDGE | allow all | deny BRIDGE | deny all | include /PATH
 * A bridge is allowed when some rule allows it and none denies it, wherever they stand. A file that is included and that the
 * user may not read is passed over: so permissions say for whom its rules are. Everything else that is wrong (a line that is
 * none of these, a file that is not root's or that others may write) means that nothing is allowed. */
#ifndef VIV_CMD_BRIDGE_ACL_H
#define VIV_CMD_BRIDGE_ACL_H

#include <stdbool.h>
#include <sys/types.h>

enum { ACL_FILE_MAX = 65536, ACL_FILES_MAX = 64, ACL_DEPTH_MAX = 8 };

struct acl {
    const char *bridge; /* the one that is asked about */
    uid_t owner;        /* whose the files must be */
    bool allowed, denied;
    unsigned files;
    char wrong[512]; /* what is wrong, "" while nothing is */
};

/* Reads a file and all that it includes. 0, or a negative errno with `wrong` set (-ENOENT: there is no such file). */
int acl_read(struct acl *a, const char *path);
/* Rules as text, not terminated, which is changed. `name` is for messages. */
int acl_parse(struct acl *a, const char *name, char *text, size_t len, unsigned depth);
bool acl_allows(const struct acl *a);

#endif
