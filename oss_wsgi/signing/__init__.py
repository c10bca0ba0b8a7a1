"""What a browser may upload, written as a form with a policy and signed (PostObject, V1 and V4)."""
