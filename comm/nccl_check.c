// Nothing but checks: nccl_calls.h says what the library's header says.
#include <nccl.h>

#define AXL_NCCL_REAL_TYPES
typedef ncclUniqueId axl_nccl_id;
typedef ncclConfig_t axl_nccl_config;
#include "comm/nccl_calls.h"

#define SAME(a, b) _Static_assert((long)(a) == (long)(b), #a " is " #b)
#define AT(a, b)   SAME(offsetof(struct axl_nccl_config_, a), offsetof(ncclConfig_t, b))

SAME(AXL_NCCL_OK, ncclSuccess);
SAME(AXL_NCCL_IN_PROGRESS, ncclInProgress);
SAME(AXL_NCCL_UINT8, ncclUint8);
SAME(AXL_NCCL_NO_COLOR, NCCL_SPLIT_NOCOLOR);
SAME(AXL_NCCL_UNSET, NCCL_CONFIG_UNDEF_INT);
SAME(AXL_NCCL_OLDEST, NCCL_VERSION(2, 18, 0));
SAME(AXL_NCCL_SHARES_GPUS, NCCL_VERSION(2, 30, 0));
SAME(sizeof(struct axl_nccl_id_), sizeof(ncclUniqueId));
AT(size, size);
AT(magic, magic);
AT(version, version);
AT(blocking, blocking);
AT(cluster_size, cgaClusterSize);
AT(min_ctas, minCTAs);
AT(max_ctas, maxCTAs);
AT(net_name, netName);
AT(split_share, splitShare);
#ifdef NCCL_API_MAGIC
SAME(0xcafebeef, NCCL_API_MAGIC);
#endif

#define AXL_NCCL_SIGNATURE(field, name, result, args)                                              \
    _Static_assert(                                                                                \
        __builtin_types_compatible_p(__typeof__(((axl_nccl_calls *)0)->field), __typeof__(&name)), \
        #name);
AXL_NCCL_CALLS(AXL_NCCL_SIGNATURE)
AXL_NCCL_CALLS_SINCE_219(AXL_NCCL_SIGNATURE)
