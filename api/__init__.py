"""HTTP over jobs: a thin skin. Routes parse, open one transaction, make one call and answer."""
