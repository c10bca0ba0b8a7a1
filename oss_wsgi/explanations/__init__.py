"""What is known of error codes, statuses, reasons, messages and wrong signatures, and the Chinese of programs."""
