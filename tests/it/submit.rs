//! One-offs of manual jobs.
