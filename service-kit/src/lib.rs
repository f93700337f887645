//! Plumbing that three or more services share.
