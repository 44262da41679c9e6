//! Models of every lock-free protocol of gfp.
