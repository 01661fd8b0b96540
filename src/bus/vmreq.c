#include "bus/vmreq.h"

#include "host/loop.h"

#include <stdatomic.h>
#include <stddef.h>

#define KINDS (VIV_VM_QUIT + 1)

static viv_vm_request_fn handler;
static atomic_uint pending; /* bit n: request n */
static atomic_uint acting;  /* the same, of those that are being acted on */
static struct {
    _Atomic int code;
    _Atomic(const char *) who;
} details[KINDS];

static void act(void *unused)
{
    unsigned bits;

    if (!handler)
        return;
    bits = atomic_load(&pending);
    atomic_fetch_or(&acting, bits); /* at no moment in neither */
    atomic_fetch_and(&pending, ~bits);
    /* The end before the rest: a machine that quits is not reset first. */
    for (int i = KINDS - 1; i >= 0; i--) {
        if (bits >> i & 1)
            handler(i, details[i].code, details[i].who);
    }
    atomic_fetch_and(&acting, ~bits);
}

void viv_vm_request(enum viv_vm_request what, int code, const char *who)
{
    unsigned bit = 1u << what;

    /* The first one's details stay. */
    if (atomic_load(&pending) & bit)
        return;
    details[what].code = code;
    details[what].who = who;
    if (!(atomic_fetch_or(&pending, bit) & bit))
        viv_loop_call(act, NULL);
}

unsigned viv_vm_requests_pending(void)
{
    return atomic_load(&pending);
}

int viv_vm_request_code(enum viv_vm_request what)
{
    return details[what].code;
}

void viv_vm_requests_drop(unsigned bits)
{
    atomic_fetch_and(&pending, ~bits);
}

bool viv_vm_about_to_end(void)
{
    return (atomic_load(&pending) | atomic_load(&acting)) & (1u << VIV_VM_RESET | 1u << VIV_VM_SHUTDOWN | 1u << VIV_VM_QUIT);
}

void viv_vm_request_set_handler(viv_vm_request_fn fn)
{
    handler = fn;
    if (fn && atomic_load(&pending))
        viv_loop_call(act, NULL);
}
