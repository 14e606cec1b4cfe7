"""Images: the roots of boxes, unpacked once per digest and shared by all boxes, which never write to them."""
