//! Mirrored files.
