"""S3: AWS, Ceph and others."""
