"""Bucket, credentials, confirmation and CORS rules by Alibaba Cloud's own libraries."""
