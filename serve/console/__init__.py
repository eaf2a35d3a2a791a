"""The console at `/console`: server-rendered pages for people. One module here is one thing; `app.py` mounts them."""
