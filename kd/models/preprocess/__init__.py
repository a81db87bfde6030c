"""What a model that was made elsewhere wants done to an image before it sees it: said in words, and done."""
