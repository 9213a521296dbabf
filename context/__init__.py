"""What does the model need to know here? Static analysis, retrieval, packing, prompts. No torch, no LSP."""
