#include "api/s3_form.h"

#include <stdlib.h>

static enum s3_error bad(struct s3_form *f, const char *why)
{
    f->step = S3_FORM_BAD;
    f->why = why;
    return S3_MALFORMED_POST_REQUEST;
}

/* ---- parameters: name="value" or name=value, behind a ';' ----------------------------- */

/* The length of the value at the front of s, its quotes included. */
static size_t value_length(struct mkv_slice s)
{
    size_t n = 0;

    if (s.len && s.data[0] == '"') {
        for (n = 1; n < s.len && s.data[n] != '"'; n++)
            if (s.data[n] == '\\' && n + 1 < s.len) n++;
        return n < s.len ? n + 1 : n;
    }
    while (n < s.len && s.data[n] != ';')
        n++;
    return n;
}

/* Data NULL: there is no such parameter.  Backslashes stay, as browsers send them. */
static struct mkv_slice parameter(struct mkv_slice line, struct mkv_slice name)
{
    const char *semicolon = line.len ? memchr(line.data, ';', line.len) : NULL;

    while (semicolon) {
        struct mkv_slice rest = mkv_slice(
            semicolon + 1, line.len - (size_t)(semicolon + 1 - line.data));
        const char *equals = rest.len ? memchr(rest.data, '=', rest.len) : NULL;
        struct mkv_slice key, value;

        if (!equals) break;
        key = mkv_slice_trim(mkv_slice(rest.data, (size_t)(equals - rest.data)));
        value = mkv_slice(equals + 1, rest.len - (size_t)(equals + 1 - rest.data));
        line = value;
        value.len = value_length(value);
        line = mkv_slice(line.data + value.len, line.len - value.len);
        value = mkv_slice_trim(value);
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"')
            value = mkv_slice(value.data + 1, value.len - 2);
        if (mkv_slice_ieq(key, name)) return value;
        semicolon = line.len ? memchr(line.data, ';', line.len) : NULL;
    }
    return mkv_slice(NULL, 0);
}

/* ---- begin, end ------------------------------------------------------------------------ */

enum s3_error s3_form_init(struct s3_form *f, struct mkv_slice content_type)
{
    struct mkv_slice boundary = parameter(content_type, MKV_SLICE("boundary"));

    memset(f, 0, sizeof(*f));
    if (!boundary.len || boundary.len > S3_FORM_BOUNDARY_MAX)
        return bad(f, "The Content-Type names no boundary of 1 to 70 characters.");
    f->text = malloc(S3_FORM_FIELDS_MAX);
    if (!f->text) return S3_INTERNAL_ERROR;
    memcpy(f->delimiter, "\r\n--", 4);
    memcpy(f->delimiter + 4, boundary.data, boundary.len);
    f->delimiter_len = 4 + boundary.len;
    f->matched = 2; /* the first one need not have a line before it */
    return S3_OK;
}

void s3_form_clear(struct s3_form *f)
{
    free(f->text);
    f->text = NULL;
}

enum s3_error s3_form_end(const struct s3_form *f)
{
    if (f->step == S3_FORM_BAD) return S3_MALFORMED_POST_REQUEST;
    return f->file_ended ? S3_OK : S3_INCOMPLETE_BODY;
}

struct mkv_slice s3_form_field(const struct s3_form *f, struct mkv_slice name)
{
    for (size_t i = 0; i < f->nfields; i++)
        if (mkv_slice_ieq(f->fields[i].name, name)) return f->fields[i].value;
    return mkv_slice(NULL, 0);
}

/* ---- fields ------------------------------------------------------------------------------ */

static bool keep(struct s3_form *f, const char *data, size_t len)
{
    if (len > S3_FORM_FIELDS_MAX - f->text_len) return false;
    if (len) memcpy(f->text + f->text_len, data, len);
    f->text_len += len;
    return true;
}

static enum s3_error too_long(struct s3_form *f)
{
    return bad(f, "The fields before the file are longer than 64 KB, or more than 64.");
}

/* The value of the last field is complete. */
static void end_field(struct s3_form *f)
{
    size_t i = f->nfields - 1;

    f->fields[i].name = mkv_slice(f->text + f->offsets[i][0], f->offsets[i][1] - f->offsets[i][0]);
    f->fields[i].value = mkv_slice(f->text + f->offsets[i][1], f->text_len - f->offsets[i][1]);
}

static enum s3_error begin_field(struct s3_form *f, struct mkv_slice name)
{
    if (f->nfields == S3_FORM_COUNT_MAX) return too_long(f);
    f->offsets[f->nfields][0] = f->text_len;
    if (!keep(f, name.data, name.len)) return too_long(f);
    f->offsets[f->nfields++][1] = f->text_len;
    f->step = S3_FORM_FIELD;
    return S3_OK;
}

static bool keep_slice(struct s3_form *f, struct mkv_slice s, struct mkv_slice *out)
{
    *out = mkv_slice(f->text + f->text_len, s.len);
    return keep(f, s.data, s.len);
}

/* ---- a part's head ------------------------------------------------------------------------- */

/* The value of the header line of that name; data NULL where there is none. */
static struct mkv_slice head_line(const struct s3_form *f, struct mkv_slice name)
{
    size_t at = 0;

    while (at < f->head_len) {
        const char *line = f->head + at, *end = memchr(line, '\n', f->head_len - at);
        size_t len = end ? (size_t)(end - line) : f->head_len - at;
        const char *colon = memchr(line, ':', len);

        at += len + 1;
        if (len && line[len - 1] == '\r') len--;
        if (colon && mkv_slice_ieq(mkv_slice(line, (size_t)(colon - line)), name))
            return mkv_slice_trim(mkv_slice(colon + 1, (size_t)(line + len - colon) - 1));
    }
    return mkv_slice(NULL, 0);
}

static enum s3_error head_is_whole(struct s3_form *f)
{
    struct mkv_slice disposition = head_line(f, MKV_SLICE("content-disposition"));
    struct mkv_slice name = parameter(disposition, MKV_SLICE("name"));

    if (!name.data) return bad(f, "A part of the form has no name.");
    if (!mkv_slice_ieq(name, MKV_SLICE("file"))) return begin_field(f, name);
    if (!keep_slice(f, parameter(disposition, MKV_SLICE("filename")), &f->filename) ||
        !keep_slice(f, head_line(f, MKV_SLICE("content-type")), &f->file_type))
        return too_long(f);
    f->step = S3_FORM_FILE;
    f->has_file = true;
    return S3_OK;
}

/* The empty line may be the first one: the line before it is the delimiter's. */
static bool head_ends(const struct s3_form *f)
{
    return (f->head_len >= 4 && !memcmp(f->head + f->head_len - 4, "\r\n\r\n", 4)) ||
           (f->head_len == 2 && !memcmp(f->head, "\r\n", 2));
}

static enum s3_error head_byte(struct s3_form *f, char byte)
{
    if (f->head_len == S3_FORM_HEAD_MAX) return bad(f, "A part's head is longer than 4096 bytes.");
    f->head[f->head_len++] = byte;
    return head_ends(f) ? head_is_whole(f) : S3_OK;
}

/* ---- boundaries ------------------------------------------------------------------------------ */

static void boundary_found(struct s3_form *f)
{
    if (f->step == S3_FORM_FIELD) end_field(f);
    if (f->step == S3_FORM_FILE) {
        f->file_ended = true;
        f->step = S3_FORM_REST;
        return;
    }
    f->step = S3_FORM_DELIMITER;
    f->nends = 0;
}

static enum s3_error delimiter_byte(struct s3_form *f, char byte)
{
    if (f->nends == 0 && (byte == ' ' || byte == '\t')) return S3_OK; /* padding */
    f->ends[f->nends++] = byte;
    if (f->nends < 2) return S3_OK;
    if (!memcmp(f->ends, "--", 2)) return bad(f, "The form has no file.");
    if (memcmp(f->ends, "\r\n", 2) != 0) return bad(f, "A boundary is not at the end of its line.");
    f->step = S3_FORM_HEAD;
    f->head_len = 0;
    return S3_OK;
}

/* What is no boundary: to the field or the file it belongs to, or nowhere. */
static enum s3_error give(struct s3_form *f, const char *data, size_t len,
                          struct mkv_slice *payload)
{
    if (f->step == S3_FORM_FIELD) return keep(f, data, len) ? S3_OK : too_long(f);
    if (f->step == S3_FORM_FILE) *payload = mkv_slice(data, len);
    return S3_OK;
}

/* Up to the next CR, or with what looked like a boundary and was none.  CR is in a
 * delimiter only at its front, so what has matched is never the beginning of
 * another match. */
static enum s3_error content(struct s3_form *f, const char *data, size_t len, size_t *used,
                             struct mkv_slice *payload)
{
    size_t at = 0, held = f->matched;
    const char *cr;

    if (!held) {
        cr = memchr(data, '\r', len);
        at = cr ? (size_t)(cr - data) : len;
        *used = at;
        if (at) return give(f, data, at, payload);
    }
    while (at < len && f->matched < f->delimiter_len && data[at] == f->delimiter[f->matched]) {
        f->matched++;
        at++;
    }
    *used = at;
    if (f->matched == f->delimiter_len) {
        f->matched = 0;
        boundary_found(f);
    } else if (at < len) {
        size_t n = f->matched;

        f->matched = 0;
        return give(f, f->delimiter, n, payload);
    }
    return S3_OK;
}

enum s3_error s3_form_next(struct s3_form *f, const char *data, size_t len, size_t *used,
                           struct mkv_slice *payload)
{
    enum s3_error err = S3_OK;
    bool had_file = f->has_file;

    *used = 0;
    *payload = mkv_slice(NULL, 0);
    while (*used < len && !err && !payload->len && f->has_file == had_file) {
        size_t n = 1;

        switch (f->step) {
        case S3_FORM_DELIMITER: err = delimiter_byte(f, data[*used]); break;
        case S3_FORM_HEAD: err = head_byte(f, data[*used]); break;
        case S3_FORM_PREAMBLE:
        case S3_FORM_FIELD:
        case S3_FORM_FILE: err = content(f, data + *used, len - *used, &n, payload); break;
        case S3_FORM_REST: n = len - *used; break;
        case S3_FORM_BAD: return S3_MALFORMED_POST_REQUEST;
        }
        *used += n;
    }
    return err;
}
