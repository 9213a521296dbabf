# ruff: noqa: A005  # absolute imports only: nothing can mistake `holefill.context.types` for the standard library's
