/* lib/api/s3_handlers.h - the handlers behind s3_route.c, by the file they are in. */
#ifndef MKV_API_S3_HANDLERS_H
#define MKV_API_S3_HANDLERS_H

#include "api/s3_call.h"

typedef void s3_handler(struct s3_call *c);

/* s3_bucket.c */
void s3_list_buckets(struct s3_call *c);
void s3_create_bucket(struct s3_call *c);
void s3_head_bucket(struct s3_call *c);
void s3_delete_bucket(struct s3_call *c);
/* s3_stub.c */
void s3_get_location(struct s3_call *c);
void s3_get_versioning(struct s3_call *c);
void s3_get_tagging(struct s3_call *c);
void s3_get_acl(struct s3_call *c);
void s3_no_policy(struct s3_call *c);
void s3_no_cors(struct s3_call *c);
void s3_no_lifecycle(struct s3_call *c);
void s3_no_encryption(struct s3_call *c);
void s3_no_object_lock(struct s3_call *c);
void s3_no_website(struct s3_call *c);
void s3_not_implemented(struct s3_call *c);
void s3_method_not_allowed(struct s3_call *c);
/* s3_list.c */
void s3_list_v1(struct s3_call *c);
void s3_list_v2(struct s3_call *c);
void s3_list_versions(struct s3_call *c);
/* s3_get.c */
void s3_get_object(struct s3_call *c); /* GET and HEAD */
/* s3_attributes.c */
void s3_get_attributes(struct s3_call *c);
/* s3_put.c */
void s3_put_object(struct s3_call *c);
/* s3_copy.c */
void s3_copy_object(struct s3_call *c);
/* s3_delete.c */
void s3_delete_object(struct s3_call *c);
/* s3_delete_many.c */
void s3_delete_objects(struct s3_call *c);
/* s3_post.c */
void s3_post_object(struct s3_call *c);
/* s3_upload.c */
void s3_create_upload(struct s3_call *c);
void s3_abort_upload(struct s3_call *c);
/* s3_upload_list.c */
void s3_list_uploads(struct s3_call *c);
void s3_list_parts(struct s3_call *c);
/* s3_part.c */
void s3_upload_part(struct s3_call *c);
/* s3_part_copy.c */
void s3_upload_part_copy(struct s3_call *c);
/* s3_complete.c */
void s3_complete_upload(struct s3_call *c);

#endif
