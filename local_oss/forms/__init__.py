"""PostObject: an HTML form, its policy, and the upload."""
