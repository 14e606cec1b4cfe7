"""Man pages and shell completion, all made from the command table: python -m ocipy.pages SHARE. Cold."""
