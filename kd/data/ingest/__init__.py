"""From photos as people have them to a packed data set: containers of files, their layouts, their images."""
