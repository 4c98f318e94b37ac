// hwloc's view of the host. Its own look at GPUs is left out: it would start the driver in every rank.
#include "launch/affinity.h"

#include <hwloc.h>
#include <stdio.h>
#include <string.h>

#define NVIDIA 0x10de

static bool open_topology(hwloc_topology_t *out)
{
    static const char *const left_out[] = {"cuda", "nvml", "opencl", "rsmi", "levelzero", "gl"};
    hwloc_topology_t t = NULL;

    if (hwloc_topology_init(&t) != 0)
        return false;
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++)
        (void)hwloc_topology_set_components(t, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST,
                                            left_out[i]);
    (void)hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    if (hwloc_topology_load(t) != 0) {
        hwloc_topology_destroy(t);
        return false;
    }
    *out = t;
    return true;
}

// The object with processors that a device hangs on, NULL when that is the whole host.
static hwloc_obj_t near_of(hwloc_topology_t t, hwloc_obj_t device)
{
    hwloc_obj_t near = device != NULL ? hwloc_get_non_io_ancestor_obj(t, device) : NULL;

    return near != NULL && near->cpuset != NULL &&
                   !hwloc_bitmap_isequal(near->cpuset, hwloc_get_root_obj(t)->cpuset)
               ? near
               : NULL;
}

static void add_network(hwloc_topology_t t, hwloc_obj_t near, axl_affinity *out)
{
    size_t at = 0;

    for (hwloc_obj_t o = hwloc_get_next_osdev(t, NULL); o != NULL; o = hwloc_get_next_osdev(t, o)) {
        const hwloc_obj_osdev_type_t type = o->attr->osdev.type;
        if ((type != HWLOC_OBJ_OSDEV_NETWORK && type != HWLOC_OBJ_OSDEV_OPENFABRICS) ||
            near_of(t, o) != near || at >= sizeof out->network)
            continue;
        const int n = snprintf(out->network + at, sizeof out->network - at, "%s%s",
                               at > 0 ? ", " : "", o->name);
        at += n > 0 ? (size_t)n : 0;
    }
}

static void describe(hwloc_topology_t t, hwloc_obj_t device, axl_affinity *out)
{
    hwloc_obj_t near = near_of(t, device);

    out->node = -1;
    if (near == NULL)
        return;
    (void)hwloc_bitmap_list_snprintf(out->cpus, sizeof out->cpus, near->cpuset);
    out->n_cpus = hwloc_bitmap_weight(near->cpuset);
    if (hwloc_bitmap_weight(near->nodeset) == 1)
        out->node = hwloc_bitmap_first(near->nodeset);
    add_network(t, near, out);
}

void axl_affinity_find(const char *bus, axl_affinity *out)
{
    hwloc_topology_t t = NULL;

    *out = (axl_affinity){.node = -1};
    (void)snprintf(out->bus, sizeof out->bus, "%s", bus);
    if (!open_topology(&t))
        return;
    describe(t, hwloc_get_pcidev_by_busidstring(t, bus), out);
    hwloc_topology_destroy(t);
}

static axl_affinity_done bind_near(hwloc_topology_t t, hwloc_obj_t near)
{
    axl_affinity_done done = AXL_AFFINITY_REFUSED;
    hwloc_bitmap_t now = hwloc_bitmap_alloc();

    if (now == NULL || hwloc_get_cpubind(t, now, HWLOC_CPUBIND_PROCESS) != 0)
        goto out;
    if (!hwloc_bitmap_isincluded(hwloc_topology_get_allowed_cpuset(t), now)) {
        done = AXL_AFFINITY_GIVEN;
        goto out;
    }
    if (hwloc_set_cpubind(t, near->cpuset, HWLOC_CPUBIND_PROCESS) != 0)
        goto out;
    done = AXL_AFFINITY_BOUND;
    // a preference: memory comes from elsewhere when the node is full
    (void)hwloc_set_membind(t, near->nodeset, HWLOC_MEMBIND_BIND, HWLOC_MEMBIND_BYNODESET);

out:
    hwloc_bitmap_free(now);
    return done;
}

axl_affinity_done axl_affinity_bind(const char *bus, axl_affinity *out)
{
    axl_affinity_done done = AXL_AFFINITY_ALL;
    hwloc_topology_t t = NULL;

    *out = (axl_affinity){.node = -1};
    (void)snprintf(out->bus, sizeof out->bus, "%s", bus);
    if (!open_topology(&t))
        return done;
    hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(t, bus);
    describe(t, device, out);
    if (near_of(t, device) != NULL)
        done = bind_near(t, near_of(t, device));
    hwloc_topology_destroy(t);
    return done;
}

axl_status axl_affinity_text(const axl_affinity *a, axl_str *out)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_str_printf(out, "%s ", a->bus));
    if (a->cpus[0] == '\0')
        AXL_TRY(axl_str_puts(out, "as near to all processors"));
    else
        AXL_TRY(axl_str_printf(out, "near processors %s", a->cpus));
    if (a->node >= 0)
        AXL_TRY(axl_str_printf(out, " (NUMA node %d)", a->node));
    if (a->network[0] != '\0')
        AXL_TRY(axl_str_printf(out, ", network %s", a->network));

out:
    return status;
}

int axl_affinity_gpus(axl_affinity *list, int n)
{
    hwloc_topology_t t = NULL;
    int found = 0;

    if (!open_topology(&t))
        return 0;
    for (hwloc_obj_t o = hwloc_get_next_pcidev(t, NULL); o != NULL;
         o = hwloc_get_next_pcidev(t, o)) {
        const struct hwloc_pcidev_attr_s *p = &o->attr->pcidev;
        if (p->vendor_id != NVIDIA || p->class_id >> 8 != 0x03) // display controllers
            continue;
        if (found < n) {
            list[found] = (axl_affinity){.node = -1};
            (void)snprintf(list[found].bus, sizeof list[found].bus, "%04x:%02x:%02x.%01x",
                           (unsigned)p->domain, (unsigned)p->bus, (unsigned)p->dev,
                           (unsigned)p->func);
            describe(t, o, &list[found]);
        }
        found++;
    }
    hwloc_topology_destroy(t);
    return found;
}
