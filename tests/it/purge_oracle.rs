//! Purges of random tables against what plain SQL says must be left.
