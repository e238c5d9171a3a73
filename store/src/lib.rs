//! Not laid yet.
