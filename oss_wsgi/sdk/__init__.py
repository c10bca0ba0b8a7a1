"""Bucket, credentials and confirmation on Alibaba Cloud's own libraries."""
