#include "net/content_range.h"

/* The number before c, which goes with it. */
static bool take_number(struct mkv_slice *rest, char c, unsigned long long *out)
{
    const char *at = memchr(rest->data, c, rest->len);
    size_t len;

    if (!at) return false;
    len = (size_t)(at - rest->data);
    if (!mkv_slice_number(mkv_slice(rest->data, len), INT64_MAX, out)) return false;
    *rest = mkv_slice(at + 1, rest->len - len - 1);
    return true;
}

bool content_range_parse(struct mkv_slice value, struct content_range *out)
{
    const struct mkv_slice unit = MKV_SLICE("bytes "), unsatisfied = MKV_SLICE("*/");
    struct mkv_slice rest;
    unsigned long long first = 0, last = 0, size;
    bool satisfied;

    if (value.len < unit.len || !mkv_slice_ieq(mkv_slice(value.data, unit.len), unit)) return false;
    rest = mkv_slice(value.data + unit.len, value.len - unit.len);
    satisfied = !mkv_slice_begins(rest, unsatisfied);
    if (!satisfied)
        rest = mkv_slice(rest.data + unsatisfied.len, rest.len - unsatisfied.len);
    else if (!take_number(&rest, '-', &first) || !take_number(&rest, '/', &last))
        return false;
    if (!mkv_slice_number(rest, INT64_MAX, &size)) return false;
    if (satisfied && (first > last || last >= size)) return false;
    *out = (struct content_range){satisfied, first, satisfied ? last + 1 : 0, size};
    return true;
}
