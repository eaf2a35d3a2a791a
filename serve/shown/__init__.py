"""How things are drawn as HTML and SVG: the report's and the console's common look."""
