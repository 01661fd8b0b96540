/* One interrupt line. Devices hold a `struct viv_irq` by value; who receives it is not their business.
 * Device lock held unless the receiver says otherwise. */
#ifndef VIV_BUS_IRQ_H
#define VIV_BUS_IRQ_H

#include <stddef.h>

typedef void (*viv_irq_fn)(void *opaque, int n, int level);

struct viv_irq {
    viv_irq_fn fn; /* NULL: not connected */
    void *opaque;
    int n;
};

static inline void viv_irq_set(const struct viv_irq *irq, int level)
{
    if (irq->fn)
        irq->fn(irq->opaque, irq->n, level);
}

static inline void viv_irq_pulse(const struct viv_irq *irq)
{
    viv_irq_set(irq, 1);
    viv_irq_set(irq, 0);
}

#endif
