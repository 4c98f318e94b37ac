// The parts of the flight record that are not on the path of a collective.
#include "comm/flight.h"

#include "comm/transport.h"

#include <stdio.h>
#include <string.h>

void axl_flight_init(axl_flight *f)
{
    (void)pthread_mutex_init(&f->lock, NULL);
}

void axl_flight_fini(axl_flight *f)
{
    (void)pthread_mutex_destroy(&f->lock);
}

const char *axl_flight_axis(axl_flight *f, const char *name)
{
    char *found = NULL;

    (void)pthread_mutex_lock(&f->lock);
    for (int i = 0; i < f->n_axes && found == NULL; i++)
        if (strncmp(f->axes[i], name, AXL_FLIGHT_NAME - 1) == 0)
            found = f->axes[i];
    if (found == NULL && f->n_axes < AXL_FLIGHT_AXES) {
        found = f->axes[f->n_axes++];
        (void)snprintf(found, AXL_FLIGHT_NAME, "%s", name);
    }
    (void)pthread_mutex_unlock(&f->lock);
    return found != NULL ? found : "another";
}

void axl_watch_phase(axl_comm *world, axl_phase phase, int64_t step)
{
    axl_flight *f = &world->root->flight;

    atomic_store_explicit(&f->step, step, memory_order_relaxed);
    atomic_store_explicit(&f->phase, (int)phase, memory_order_relaxed);
}

void axl_watch_checkpoint(axl_comm *world, const char *path)
{
    axl_flight *f = &world->root->flight;

    (void)pthread_mutex_lock(&f->lock);
    (void)snprintf(f->checkpoint, sizeof f->checkpoint, "%s", path);
    (void)pthread_mutex_unlock(&f->lock);
}
