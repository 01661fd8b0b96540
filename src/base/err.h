/* The error a person reads: what was asked, what is wrong with it, what would work.
 *
 * Functions that a person configures return 0 or a negative errno and fill a last argument
 * `struct viv_err *`. The data path returns the errno alone. Any thread; never blocks. */
#ifndef VIV_BASE_ERR_H
#define VIV_BASE_ERR_H

struct viv_err {
    int code; /* positive errno, 0 while unset */
    char text[768];
};

#define VIV_ERR_INIT {0, ""}

/* Sets the text and returns -errnum, so that `return viv_fail(err, EINVAL, ...)` is the whole
 * failure path. `err` may be NULL (the text is dropped). The first failure wins: a second call
 * on a set error keeps the first text. */
int viv_fail(struct viv_err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Like viv_fail(), and appends ": " and strerror(errnum). */
int viv_fail_os(struct viv_err *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "what: " in front of an error already set (context from an outer layer). */
void viv_err_prefix(struct viv_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Makes an error fit for use again. */
void viv_err_clear(struct viv_err *err);

#endif
