// The rows, for the table.
#ifndef AXL_OPTIM_OPTIM_PRIVATE_H
#define AXL_OPTIM_OPTIM_PRIVATE_H

#include "src/optim/optim.h"

extern const axl_optimizer axl_optimizer_adamw;

#endif
