"""Man pages and shell completion, generated from the command table: python -m ocipy.pages SHARE. Cold."""
