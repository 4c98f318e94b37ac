// Gives a fuzz entry its corpus: every file as it is, cut at every length, and with every byte changed.
// Large files are cut and changed at some 500 places only. Nothing is checked here: an entry aborts, or
// the sanitizer does.
#include "src/io/file.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <string.h>

#define PLACES 500

// The bytes live in memory of their exact size, so that a sanitizer sees a read past the end.
static void give(const char *bytes, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);

    if (copy == NULL)
        abort();
    memcpy(copy, bytes, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static void give_variants(axl_str *s)
{
    static const unsigned char flips[] = {0x01, 0x20, 0x80, 0xff};
    size_t step = s->len / PLACES + 1;

    give(s->data, s->len);
    for (size_t i = 0; i < s->len; i += step) {
        give(s->data, i);
        for (size_t k = 0; k < sizeof flips; k++) {
            s->data[i] = (char)(s->data[i] ^ flips[k]);
            give(s->data, s->len);
            s->data[i] = (char)(s->data[i] ^ flips[k]);
        }
    }
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    int n = 0;

    if (dir == NULL) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(dir)) != NULL) {
        axl_str path = {0}, text = {0};
        if (entry->d_name[0] == '.')
            continue;
        if (axl_str_printf(&path, "%s/%s", argv[1], entry->d_name) != AXL_OK ||
            axl_file_read(path.data, &text) != AXL_OK)
            abort();
        give_variants(&text);
        axl_str_fini(&path);
        axl_str_fini(&text);
        n++;
    }
    (void)closedir(dir);
    (void)printf("%d files of %s\n", n, argv[1]);
    return n > 0 ? 0 : 1;
}
