"""The upload report: what is asked of OSS, what comes back, and how it is verified."""
