"""Upload callbacks as OSS sends them: parameters, variables, signature, transport."""
