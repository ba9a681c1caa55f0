//! A file as directives with places; the table type that all files use.
