// The rows, for the table.
#ifndef AXL_METHODS_METHODS_PRIVATE_H
#define AXL_METHODS_METHODS_PRIVATE_H

#include "src/methods/method.h"

#define AXL_METHOD(name) extern const axl_method axl_method_##name;
#include "src/methods/methods.def"
#undef AXL_METHOD

#endif
