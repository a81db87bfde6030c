"""The data doctor: what is wrong with a data set, before anybody learns of it."""
