#include "host/lock.h"

static pthread_mutex_t device_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool held;

void viv_dev_lock(void)
{
    assert(!held);
    pthread_mutex_lock(&device_mutex);
    held = true;
}

void viv_dev_unlock(void)
{
    assert(held);
    held = false;
    pthread_mutex_unlock(&device_mutex);
}

bool viv_dev_locked(void)
{
    return held;
}

void viv_dev_wait(pthread_cond_t *cond)
{
    assert(held);
    held = false;
    pthread_cond_wait(cond, &device_mutex);
    held = true;
}
