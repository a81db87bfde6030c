"""The report as people read it: a page and a model card, made of the report alone, without torch."""
