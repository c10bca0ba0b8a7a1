"""PostObject: the multipart form, its policy and the upload."""
