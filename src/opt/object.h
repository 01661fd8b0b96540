/* Objects that a user makes and others name by id: -object, --object, object-add. Each program says which classes it has; the
 * things themselves live where they belong, by the same id.
 *
 * Not thread-safe; with the device lock once there are threads. */
#ifndef VIV_OPT_OBJECT_H
#define VIV_OPT_OBJECT_H

#include "opt/opt.h"

#include <stdio.h>

struct viv_object;

struct viv_object_class {
    const char *type, *desc;
    const char *parent;             /* what it is one kind of, as "authz"; NULL: an object */
    const struct viv_opt_def *opts; /* with `id` */
    int (*add)(struct viv_opts *o, struct viv_err *err);
    int (*del)(const char *id, struct viv_err *err);        /* -EBUSY: somebody uses it. NULL: it stays until the program ends */
    int (*change)(struct viv_opts *o, struct viv_err *err); /* to all these options; NULL: none can be changed */
    struct viv_raw_opts *(*now)(const char *id);            /* its options as they are; NULL: as they were given */
    bool hidden;                                            /* nobody may read its options */
    unsigned phase;                                         /* the program's own: when on its command line it is made */
    const char *fixed;                                      /* why none comes while the program runs; NULL: it may */
};

/* Adds classes to those that there are; a table that ends with NULL and stays. */
void viv_objects_use(const struct viv_object_class *const *classes);
const struct viv_object_class *viv_object_class_at(unsigned i); /* by name; NULL: there are no more */
const struct viv_object_class *viv_object_class_named(const char *type); /* NULL: there is none */
/* -EINVAL, with the nearest one and all there are. type NULL: none was given. */
int viv_object_class_find(const char *type, const struct viv_object_class **out, struct viv_err *err);
/* Of an object (NULL: all classes) to stdout; false: there is no such class. */
bool viv_object_help(const char *type, FILE *to);

/* Makes one. -EEXIST: the id is taken, by an object of any class. */
int viv_object_make(const struct viv_object_class *c, struct viv_raw_opts *r, struct viv_err *err);
/* While the program runs (object-add), or in a program none of whose classes is fixed: of the class that "qom-type" names. */
int viv_object_add(struct viv_raw_opts *r, struct viv_err *err);
/* The same of "TYPE,id=ID,..." or JSON; `what` opens errors. */
int viv_object_add_text(const char *what, const char *text, struct viv_err *err);
int viv_object_del(const char *id, struct viv_err *err); /* -ENOENT, -EBUSY */
/* It has gone by itself: with its network back end. */
void viv_object_gone(const char *id);
/* At exit: the things themselves are their classes' to free. */
void viv_objects_forget(void);

struct viv_object *viv_object_next(struct viv_object *o); /* in the order of making; NULL starts and ends the walk */
struct viv_object *viv_object_find(const char *id);       /* NULL: none */
const char *viv_object_id(const struct viv_object *o);
const struct viv_object_class *viv_object_class(const struct viv_object *o);
/* Its options as they are, typed; NULL for one that is hidden. Caller frees. */
struct viv_opts *viv_object_options(const struct viv_object *o);
/* These options get other values, the rest stays. */
int viv_object_change(struct viv_object *o, const struct viv_raw_opts *some, struct viv_err *err);

#endif
