// How far two results may be apart, by the precision they were made in, the length of
// the sums in them, and the roundings to bf16 on the way.
#ifndef AXL_TESTS_KERNELS_TOLERANCE_H
#define AXL_TESTS_KERNELS_TOLERANCE_H

#include "src/base/dtype.h"

#include <math.h>
#include <stdint.h>

// Relative to the element and to the root mean square of its array: rounding errors of a sum grow with
// the root of its length, and cancel where the element is small by chance.
static inline double kt_tolerance(axl_dtype precision, int64_t reduction, int roundings)
{
    const double growth = 8.0 + 2.0 * sqrt((double)reduction);

    switch (precision) {
    case AXL_F64:
        return 0x1p-53 * growth * 4.0;
    case AXL_F8_E4M3: // one rounding of the same number
    case AXL_I32:     // counts and ids are exact
        return 0.0;
    case AXL_BF16: // each rounding may fall to either side: a unit of the last of 8 bits
        return 0x1p-7 * 1.02 * roundings;
    default:
        return 0x1p-24 * growth;
    }
}

#endif
