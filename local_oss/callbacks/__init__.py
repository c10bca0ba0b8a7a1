"""Upload callbacks as OSS sends them: parameters, variables, the signed request, transports."""
