// safetensors: a file that opens must be readable to its last byte, and its layout must be its own again.
#include "src/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    axl_safetensors *file = NULL;
    axl_safetensors_plan plan = {0};
    unsigned sum = 0;
    int fd = fuzz_file(data, size, path);

    if (axl_safetensors_open(path, &file) == AXL_OK) {
        for (int64_t i = 0; i < axl_safetensors_count(file); i++) {
            const axl_tensor_entry *e = axl_safetensors_at(file, i);
            for (size_t k = 0; k < e->bytes; k++)
                sum += e->data[k];
            if (axl_safetensors_find(file, e->spec.name) != e)
                abort();
        }
        if (axl_safetensors_plan_copy(file, &plan) != AXL_OK || plan.total != size ||
            memcmp(plan.header.data, data, plan.header.len) != 0)
            abort();
    }
    axl_safetensors_plan_fini(&plan);
    axl_safetensors_close(file);
    (void)close(fd);
    return sum == 1 ? 0 : 0; // the sum is used, so the reads are not optimised away
}
