"""Images: what a box's root is made of, unpacked once by digest and shared by all boxes, which never write to it."""
