"""The callback of an upload: its parameters, the report that OSS sends, and how the report is verified."""
