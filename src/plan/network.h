// Seconds of a collective over some axes of a mesh on a cluster.
#ifndef AXL_PLAN_NETWORK_H
#define AXL_PLAN_NETWORK_H

#include "comm/mesh.h"
#include "src/plan/cluster.h"

#define AXL_AXIS_BIT(axis) (1u << (axis))

// The axes of a group, as bits; 0 for the world and for groups without axes of their own.
unsigned axl_network_axes(axl_group group);

// Ranks of the group that differ along these axes: all of them, and those on one node. Ranks fill nodes in order.
int64_t axl_network_ranks(const axl_mesh *m, unsigned axes);
int64_t axl_network_local(const axl_cluster *c, const axl_mesh *m, unsigned axes);

// One collective of that payload (comm.h says what that is for each operation), while the other groups of
// these axes do the same. A group on one node has the inside link. One over several shares the adapters of each node
// with the other groups there: each gets the part that its ranks are of the node's.
double axl_network_seconds(const axl_cluster *c, const axl_mesh *m, unsigned axes, axl_comm_op op,
                           double payload);

// The same for bytes that are known to be sent by a rank, in so many steps one after the other.
double axl_network_sent_seconds(const axl_cluster *c, const axl_mesh *m, unsigned axes,
                                double bytes, double steps);

#endif
