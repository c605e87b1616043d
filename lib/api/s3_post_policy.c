#include "api/s3_post_policy.h"

#include "api/s3_sign_parts.h"
#include "api/s3_text.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#define CONDITIONS_MAX 128

static struct mkv_slice field(const struct s3_post_form *form, struct mkv_slice name)
{
    for (size_t i = 0; i < form->nfields; i++)
        if (mkv_slice_ieq(form->fields[i].name, name)) return form->fields[i].value;
    return mkv_slice(NULL, 0);
}

/* A field named twice would leave open which of both was checked. */
static bool each_once(const struct s3_post_form *form)
{
    for (size_t i = 0; i < form->nfields; i++)
        for (size_t k = i + 1; k < form->nfields; k++)
            if (mkv_slice_ieq(form->fields[i].name, form->fields[k].name)) return false;
    return true;
}

/* ---- the signature -------------------------------------------------------------- */

static enum s3_error check_v4(const struct s3_signer *signer, const struct s3_post_form *form,
                              struct mkv_slice policy, struct s3_signature *out)
{
    uint8_t sent[MKV_SHA256_LEN], computed[MKV_SHA256_LEN];
    struct mkv_slice access, scope, secret, date = field(form, MKV_SLICE("x-amz-date"));
    enum s3_error err;
    int64_t when;
    const char *why = s3_credential(field(form, MKV_SLICE("x-amz-credential")), &access, &scope);

    out->kind = S3_SIGN_V4_QUERY;
    if (why) return s3_sign_fail(out, S3_INVALID_ARGUMENT, why);
    if (!mkv_slice_eq(field(form, MKV_SLICE("x-amz-algorithm")), MKV_SLICE("AWS4-HMAC-SHA256")))
        return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                            "x-amz-algorithm only supports AWS4-HMAC-SHA256.");
    if (!s3_parse_amz_date(date, &when) || memcmp(date.data, scope.data, 8) != 0)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT,
                            "x-amz-date is no date, or not of the credential's day.");
    memcpy(out->date, date.data, S3_AMZ_DATE_LEN);
    memcpy(out->scope, scope.data, scope.len);
    err = s3_sign_secret(signer, access, out, &secret);
    if (err) return err;
    if (!s3_signing_key(secret, scope, out->key)) return S3_INVALID_ARGUMENT;
    mkv_hmac_sha256(mkv_slice((const char *)out->key, sizeof(out->key)), policy, computed);
    OPENSSL_cleanse(out->key, sizeof(out->key)); /* nothing else is signed with it */
    if (!mkv_unhex(sent, sizeof(sent), field(form, MKV_SLICE("x-amz-signature"))) ||
        CRYPTO_memcmp(sent, computed, sizeof(sent)) != 0)
        return S3_SIGNATURE_DOES_NOT_MATCH;
    return S3_OK;
}

static enum s3_error check_v2(const struct s3_signer *signer, const struct s3_post_form *form,
                              struct mkv_slice policy, struct s3_signature *out)
{
    uint8_t sent[MKV_SHA1_LEN], computed[MKV_SHA1_LEN];
    struct mkv_slice access = field(form, MKV_SLICE("AWSAccessKeyId")), secret;
    enum s3_error err;
    size_t len;

    out->kind = S3_SIGN_V2_QUERY;
    if (!access.len || access.len > S3_ACCESS_MAX)
        return s3_sign_fail(out, S3_INVALID_ARGUMENT, "The access key is empty or too long.");
    err = s3_sign_secret(signer, access, out, &secret);
    if (err) return err;
    mkv_hmac_sha1(secret, policy, computed);
    if (!s3_unbase64(field(form, MKV_SLICE("signature")), sent, sizeof(sent), &len) ||
        len != sizeof(sent) || CRYPTO_memcmp(sent, computed, sizeof(sent)) != 0)
        return S3_SIGNATURE_DOES_NOT_MATCH;
    return S3_OK;
}

/* ---- the conditions ---------------------------------------------------------------- */

static struct mkv_slice text_of(const json_t *value)
{
    if (!json_is_string(value)) return mkv_slice(NULL, 0);
    return mkv_slice(json_string_value(value), json_string_length(value));
}

struct policy {
    const struct s3_post_form *form;
    struct mkv_slice covered[CONDITIONS_MAX]; /* names of fields that a condition speaks of */
    size_t ncovered;
    struct s3_post_limits *limits;
    struct s3_signature *out;
};

static enum s3_error invalid(struct policy *p, const char *why)
{
    return s3_sign_fail(p->out, S3_INVALID_POLICY_DOCUMENT, why);
}

/* name: of the field.  One that was not sent has no bytes. */
static enum s3_error compare(struct policy *p, struct mkv_slice name, struct mkv_slice value,
                             bool begins)
{
    struct mkv_slice sent = field(p->form, name);
    bool ok = begins ? mkv_slice_begins(sent, value) : mkv_slice_eq(sent, value);

    if (!name.len || !value.data) return invalid(p, "A condition of the policy is malformed.");
    if (p->ncovered == CONDITIONS_MAX) return invalid(p, "The policy has too many conditions.");
    p->covered[p->ncovered++] = name;
    if (!ok)
        return s3_sign_fail(p->out, S3_ACCESS_DENIED,
                            "Invalid according to Policy: Policy Condition failed");
    return S3_OK;
}

/* A number, or one in quotes. */
static bool length_of(const json_t *value, uint64_t *out)
{
    unsigned long long number;

    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    if (!json_is_string(value) || !mkv_slice_number(text_of(value), INT64_MAX, &number))
        return false;
    *out = number;
    return true;
}

static enum s3_error condition_array(struct policy *p, const json_t *c)
{
    struct mkv_slice verb = text_of(json_array_get(c, 0));
    struct mkv_slice name = text_of(json_array_get(c, 1));
    struct mkv_slice value = text_of(json_array_get(c, 2));
    bool begins = mkv_slice_ieq(verb, MKV_SLICE("starts-with"));
    uint64_t min, max;

    if (json_array_size(c) != 3) return invalid(p, "A condition of the policy is malformed.");
    if (mkv_slice_ieq(verb, MKV_SLICE("content-length-range"))) {
        if (!length_of(json_array_get(c, 1), &min) || !length_of(json_array_get(c, 2), &max) ||
            min > max)
            return invalid(p, "The policy's content-length-range is malformed.");
        if (min > p->limits->min) p->limits->min = min;
        if (max < p->limits->max) p->limits->max = max;
        return S3_OK;
    }
    if (!begins && !mkv_slice_ieq(verb, MKV_SLICE("eq")))
        return invalid(p, "The policy names an unknown kind of condition.");
    if (name.len < 2 || name.data[0] != '$')
        return invalid(p, "A condition of the policy is malformed.");
    return compare(p, mkv_slice(name.data + 1, name.len - 1), value, begins);
}

static enum s3_error condition_object(struct policy *p, json_t *c)
{
    enum s3_error err = S3_OK;
    const char *name;
    json_t *value;

    json_object_foreach(c, name, value) {
        err = compare(p, mkv_slice_of(name), text_of(value), false);
        if (err) break;
    }
    return err;
}

static bool needs_no_condition(struct mkv_slice name)
{
    static const size_t prefix = sizeof("x-ignore-") - 1;

    return mkv_slice_ieq(name, MKV_SLICE("x-amz-signature")) ||
           mkv_slice_ieq(name, MKV_SLICE("awsaccesskeyid")) ||
           mkv_slice_ieq(name, MKV_SLICE("signature")) ||
           mkv_slice_ieq(name, MKV_SLICE("policy")) || mkv_slice_ieq(name, MKV_SLICE("file")) ||
           mkv_slice_ieq(name, MKV_SLICE("bucket")) ||
           (name.len >= prefix &&
            mkv_slice_ieq(mkv_slice(name.data, prefix), MKV_SLICE("x-ignore-")));
}

static enum s3_error check_nothing_beside(struct policy *p)
{
    for (size_t i = 0; i < p->form->nfields; i++) {
        struct mkv_slice name = p->form->fields[i].name;
        size_t k = 0;

        while (k < p->ncovered && !mkv_slice_ieq(p->covered[k], name))
            k++;
        if (k == p->ncovered && !needs_no_condition(name))
            return s3_sign_fail(p->out, S3_ACCESS_DENIED,
                                "Invalid according to Policy: Extra input fields");
    }
    return S3_OK;
}

static enum s3_error check_document(struct policy *p, json_t *root)
{
    const json_t *conditions = json_object_get(root, "conditions");
    enum s3_error err = S3_OK;
    int64_t until;

    if (!json_is_array(conditions) ||
        !s3_parse_iso_date(text_of(json_object_get(root, "expiration")), &until))
        return invalid(p, "The policy needs expiration and conditions.");
    if (until < p->form->now)
        return s3_sign_fail(p->out, S3_ACCESS_DENIED,
                            "Invalid according to Policy: Policy expired");
    for (size_t i = 0; !err && i < json_array_size(conditions); i++) {
        json_t *c = json_array_get(conditions, i);

        if (json_is_array(c))
            err = condition_array(p, c);
        else if (json_is_object(c))
            err = condition_object(p, c);
        else
            err = invalid(p, "A condition of the policy is malformed.");
    }
    return err ? err : check_nothing_beside(p);
}

static enum s3_error check_policy(const struct s3_post_form *form, struct mkv_slice base64,
                                  struct s3_signature *out, struct s3_post_limits *limits)
{
    struct policy p = {.form = form, .limits = limits, .out = out};
    uint8_t *text = malloc(S3_POLICY_MAX);
    enum s3_error err = S3_INTERNAL_ERROR;
    json_t *root = NULL;
    size_t len;

    if (!text) goto out;
    err = S3_INVALID_POLICY_DOCUMENT;
    if (!s3_unbase64(base64, text, S3_POLICY_MAX, &len)) goto out;
    root = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) goto out;
    err = check_document(&p, root);
out:
    json_decref(root);
    free(text);
    return err;
}

enum s3_error s3_post_check(const struct s3_signer *signer, const struct s3_post_form *form,
                            struct s3_signature *out, struct s3_post_limits *limits)
{
    struct mkv_slice policy = field(form, MKV_SLICE("policy"));
    enum s3_error err;

    memset(out, 0, sizeof(*out));
    *limits = (struct s3_post_limits){0, UINT64_MAX};
    if (!policy.len) return s3_sign_fail(out, S3_ACCESS_DENIED, "The form is not signed.");
    if (policy.len > S3_POLICY_MAX)
        return s3_sign_fail(out, S3_INVALID_POLICY_DOCUMENT, "The policy is too long.");
    if (!each_once(form))
        return s3_sign_fail(out, S3_INVALID_ARGUMENT, "A field of the form comes twice.");
    err = field(form, MKV_SLICE("x-amz-signature")).data ? check_v4(signer, form, policy, out)
                                                         : check_v2(signer, form, policy, out);
    return err ? err : check_policy(form, policy, out, limits);
}
