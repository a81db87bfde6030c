"""Two databases with the same promises."""
