"""What a browser may upload, written as a form with a policy or as a URL, and signed (V1 and V4)."""
