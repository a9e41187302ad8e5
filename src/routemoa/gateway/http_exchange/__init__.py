"""One HTTP exchange: its body read within limits, its response written, its caller gone or not."""
