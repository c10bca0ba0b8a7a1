"""What is known of codes, statuses, reasons, messages, regions and wrong signatures, and the Chinese of programs."""
