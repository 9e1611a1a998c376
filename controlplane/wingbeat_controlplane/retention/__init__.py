"""What goes: executions after their time, what is to be erased, blobs that nothing refers to."""
