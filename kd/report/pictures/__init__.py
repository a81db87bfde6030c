"""Pictures of what was measured, as SVG that a page holds: of the standard library alone, for whoever shows numbers.

They take their colours from the page's style (`pictures.css`), so that they are right by day and by night.
"""
