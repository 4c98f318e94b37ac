// Questions about code points, answered from utf8proc's tables where no rule of our own is
// shorter, and corrected by the table of exceptions.
#include "src/text/tokenizer_private.h"

#include <utf8proc.h>

size_t axl_utf8_encode(uint32_t cp, char out[4])
{
    unsigned char *u = (unsigned char *)out;
    if (cp < 0x80) {
        u[0] = (unsigned char)cp;
        return 1;
    }
    if (cp < 0x800) {
        u[0] = (unsigned char)(0xc0 | cp >> 6);
        u[1] = (unsigned char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        u[0] = (unsigned char)(0xe0 | cp >> 12);
        u[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
        u[2] = (unsigned char)(0x80 | (cp & 0x3f));
        return 3;
    }
    u[0] = (unsigned char)(0xf0 | cp >> 18);
    u[1] = (unsigned char)(0x80 | (cp >> 12 & 0x3f));
    u[2] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
    u[3] = (unsigned char)(0x80 | (cp & 0x3f));
    return 4;
}

bool axl_uni_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= 9 && cp <= 13) || cp == ' ';
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool axl_uni_is_numeric(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= '0' && cp <= '9';
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) !=
           axl_uni_flipped(AXL_UNI_NUMERIC, cp);
}

bool axl_uni_is_mark(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME) !=
           axl_uni_flipped(AXL_UNI_MARK, cp);
}

bool axl_uni_is_nonspacing(uint32_t cp)
{
    return (utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_MN) !=
           axl_uni_flipped(AXL_UNI_NONSPACING, cp);
}

bool axl_uni_is_control(uint32_t cp)
{
    return (utf8proc_category((utf8proc_int32_t)cp) >= UTF8PROC_CATEGORY_CC) !=
           axl_uni_flipped(AXL_UNI_CONTROL, cp);
}

bool axl_uni_is_punctuation(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= '!' && cp <= '/') || (cp >= ':' && cp <= '@') || (cp >= '[' && cp <= '`') ||
               (cp >= '{' && cp <= '~');
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return (c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO) !=
           axl_uni_flipped(AXL_UNI_PUNCTUATION, cp);
}

uint32_t axl_uni_lower(uint32_t cp)
{
    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    uint32_t young = axl_uni_young_lower(cp);
    return young != cp ? young : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
}

static bool is_word_by_category(uint32_t cp)
{
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: // the symbols that Unicode calls alphabetic (circled, squared letters), and the joiners
        return (cp >= 0x24b6 && cp <= 0x24e9) || (cp >= 0x1f130 && cp <= 0x1f149) ||
               (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189) ||
               cp == 0x200c || cp == 0x200d;
    }
}

bool axl_uni_is_word(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') ||
               cp == '_';
    return is_word_by_category(cp) != axl_uni_flipped(AXL_UNI_WORD, cp);
}

void axl_uni_fill_classes(uint8_t *table)
{
    for (uint32_t cp = 0; cp < AXL_CLASS_TABLE; cp++) {
        utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
        table[cp] = AXL_CLASS_OTHER;
        if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO)
            table[cp] = AXL_CLASS_LETTER;
        else if (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO)
            table[cp] = AXL_CLASS_NUMBER;
        else if (axl_uni_is_space(cp))
            table[cp] = AXL_CLASS_SPACE;
    }
    axl_uni_flip_classes(table);
}

// Printable bytes stand for themselves; the others take the code points from 256 on, in order.
static bool byte_is_plain(unsigned b)
{
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
}

uint32_t axl_byte_level_char(unsigned char byte)
{
    if (byte_is_plain(byte))
        return byte;
    if (byte <= 0x20)
        return 256u + byte;
    if (byte <= 0xa0)
        return 256u + 33u + (byte - 0x7fu);
    return 256u + 33u + 34u; // 0xad
}

int axl_byte_level_byte(uint32_t cp)
{
    if (cp < 256)
        return byte_is_plain(cp) ? (int)cp : -1;
    if (cp <= 256 + 0x20)
        return (int)(cp - 256);
    if (cp < 256 + 33 + 34)
        return (int)(cp - 256 - 33 + 0x7f);
    return cp == 256 + 33 + 34 ? 0xad : -1;
}
