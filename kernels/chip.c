// NVIDIA's data sheets of the SXM boards; PCIe, NVL: of those. Sheets that give rates "with sparsity" are halved.
#include "kernels/chip.h"

#include <stddef.h>
#include <string.h>

// The first row whose name is a part of the device's counts.
static const axl_chip chips[] = {
    {"H200 NVL", NULL, 60.0, 835.5, 1671.0, 4800, false, true},
    {"GH200", NULL, 66.9, 989.4, 1978.9, 4000, false, true},
    {"H200", "h200", 66.9, 989.4, 1978.9, 4800, false, true},
    {"H100 NVL", NULL, 60.0, 835.5, 1671.0, 3938, false, true},
    {"H100 PCIe", NULL, 51.2, 756.4, 1512.9, 2039, false, true},
    {"H100", "h100", 66.9, 989.4, 1978.9, 3350, false, true},
    {"GB200", NULL, 80.0, 2500.0, 5000.0, 8000, true, false},
    {"B200", NULL, 75.0, 2250.0, 4500.0, 8000, true, false},
    {"A100 80GB PCIe", NULL, 19.5, 312.0, 0.0, 1935, false, false},
    {"A100-PCIE-40GB", NULL, 19.5, 312.0, 0.0, 1555, false, false},
    {"A100-SXM4-40GB", NULL, 19.5, 312.0, 0.0, 1555, false, false},
    {"A100", "a100", 19.5, 312.0, 0.0, 2039, false, false},
};

const axl_chip *axl_chip_find(const char *name)
{
    if (strstr(name, "MIG") != NULL)
        return NULL;
    for (size_t i = 0; i < sizeof chips / sizeof *chips; i++)
        if (strstr(name, chips[i].name) != NULL)
            return &chips[i];
    return NULL;
}

double axl_chip_peak(const axl_chip *c, axl_dtype dtype, bool tf32)
{
    const double tflops = dtype == AXL_BF16      ? c->bf16
                          : dtype == AXL_F8_E4M3 ? c->fp8
                          : dtype != AXL_F32     ? 0.0
                          : tf32                 ? c->bf16 / 2.0
                                                 : c->fp32;

    return tflops * 1e12;
}
