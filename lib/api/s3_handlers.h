/* lib/api/s3_handlers.h - the handlers behind s3_route.c, by the file they are in. */
#ifndef MKV_API_S3_HANDLERS_H
#define MKV_API_S3_HANDLERS_H

#include "api/s3_call.h"

typedef void s3_handler(struct s3_call *c);

/* s3_bucket.c */
s3_handler s3_list_buckets, s3_create_bucket, s3_head_bucket, s3_delete_bucket;
/* s3_stub.c */
s3_handler s3_get_location, s3_get_versioning, s3_get_tagging, s3_get_acl;
s3_handler s3_no_policy, s3_no_cors, s3_no_lifecycle, s3_no_encryption, s3_no_object_lock,
    s3_no_website, s3_not_implemented, s3_method_not_allowed;
/* s3_list.c */
s3_handler s3_list_v1, s3_list_v2, s3_list_versions;
/* s3_get.c */
s3_handler s3_get_object; /* GET and HEAD */
/* s3_attributes.c */
s3_handler s3_get_attributes;
/* s3_put.c */
s3_handler s3_put_object;
/* s3_copy.c */
s3_handler s3_copy_object;
/* s3_delete.c */
s3_handler s3_delete_object;
/* s3_delete_many.c */
s3_handler s3_delete_objects;
/* s3_post.c */
s3_handler s3_post_object;
/* s3_upload.c */
s3_handler s3_create_upload, s3_abort_upload;
/* s3_upload_list.c */
s3_handler s3_list_uploads, s3_list_parts;
/* s3_part.c */
s3_handler s3_upload_part;
/* s3_part_copy.c */
s3_handler s3_upload_part_copy;
/* s3_complete.c */
s3_handler s3_complete_upload;

#endif
