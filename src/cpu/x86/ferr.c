#include "cpu/x86/ferr.h"

#include <stdatomic.h>
#include <stddef.h>

static struct {
    void (*fn)(void *opaque);
    void *opaque;
    atomic_bool ignne;
} pins;

void viv_ferr_connect(void (*fn)(void *opaque), void *opaque)
{
    pins.fn = fn;
    pins.opaque = opaque;
}

void viv_ferr_ignne(bool on)
{
    atomic_store(&pins.ignne, on);
}

bool viv_ferr_ignoring(void)
{
    return atomic_load(&pins.ignne);
}

void viv_ferr_pending(void)
{
    if (pins.fn && !atomic_load(&pins.ignne))
        pins.fn(pins.opaque);
}

void viv_ferr_cleared(void)
{
    if (atomic_load(&pins.ignne))
        atomic_store(&pins.ignne, false);
}
